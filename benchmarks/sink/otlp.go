package main

import "strings"

// otlpProtobuf counts an ExportLogsServiceRequest:
// resource_logs=1 {resource=1, scope_logs=2 {scope=1, log_records=2 {severity_text=3, body=5 {string_value=1}}}}.
func otlpProtobuf(body []byte, push *push) error {
	return eachField(body, func(number uint64, logs []byte) error {
		if number != 1 {
			return nil
		}
		return eachField(logs, func(number uint64, value []byte) error {
			switch number {
			case 1:
				attributes, err := otlpAttributes(value)
				push.labels[attributes]++
				return err
			case 2:
				return otlpRecords(value, push)
			}
			return nil
		})
	})
}

func otlpRecords(scope []byte, push *push) error {
	return eachField(scope, func(number uint64, record []byte) error {
		if number != 2 {
			return nil
		}
		push.entries++
		return eachField(record, func(number uint64, value []byte) error {
			if number != 5 {
				return nil
			}
			return eachField(value, func(number uint64, line []byte) error {
				if number == 1 {
					push.line(line)
				}
				return nil
			})
		})
	})
}

// otlpAttributes writes a resource's attributes=1 {key=1, value=2 {string_value=1}} as {key=value,…}.
func otlpAttributes(resource []byte) (string, error) {
	var pairs []string
	err := eachField(resource, func(number uint64, attribute []byte) error {
		if number != 1 {
			return nil
		}
		key, value := "", ""
		err := eachField(attribute, func(number uint64, part []byte) error {
			if number == 1 {
				key = string(part)
				return nil
			}
			return eachField(part, func(number uint64, text []byte) error {
				if number == 1 {
					value = string(text)
				}
				return nil
			})
		})
		pairs = append(pairs, key+"="+value)
		return err
	})
	return "{" + strings.Join(pairs, ",") + "}", err
}
