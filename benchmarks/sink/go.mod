module tailrace/benchmarks/sink

go 1.21
