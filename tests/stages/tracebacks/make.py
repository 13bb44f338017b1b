"""Makes the samples of PHP, Dart, Ruby and Python 3.14 in this folder: runs what fails, and writes what it printed.

    npm install --prefix FOLDER pyodide sass-embedded @ruby/wasm-wasi @ruby/3.4-wasm-wasi
    python make.py FOLDER

Needs `php` (8.2, with Monolog in its include path), `ruby` (3.1), `mcs` and `mono` (6.8), and `node` on the PATH, and
Linux on x64. Pyodide 314 is CPython 3.14, compiled to WebAssembly, as is Ruby 3.4 (which shows a script as
`<compiled>`). Dart has no compiler among the packages of other languages, but a compiled program with its runtime
(Dart 3.13): Sass, whose prompt fails when its output cannot be written.
The other samples here were made the same way by programs of a few lines, without a script.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

PHP_CHAIN = """<?php
namespace Shop;
class OrderException extends \\Exception {}
class Cart {
    function total(array $lines, string $currency) {
        if (!$lines) { throw new OrderException("no lines\\nin order 17"); }
    }
    static function pay(callable $f) { return array_map($f, [3]); }
}
function main() {
    try {
        Cart::pay(function ($n) { (new Cart)->total([], "EUR"); });
    } catch (OrderException $error) {
        throw new \\RuntimeException("cannot pay", 3, $error);
    }
}
"""
PHP = {
    "php_chain": PHP_CHAIN + "main();\n",
    "php_type": '<?php\nfunction add(int $n) { return $n; }\nadd("x");\n',
    "php_no_message": "<?php\nclass Stop extends Exception {}\nthrow new Stop;\n",
    "php_as_text": '<?php\ntry { intdiv(1, 0); } catch (Error $error) { error_log("job 17 failed: " . $error); }\n',
    "php_as_text_alone": "<?php\ntry { intdiv(1, 0); } catch (Error $error) { fwrite(STDERR, $error); }\n",
    "php_monolog": PHP_CHAIN
    + """
require "Monolog/autoload.php";
$handler = new \\Monolog\\Handler\\StreamHandler("php://stderr");
$formatter = new \\Monolog\\Formatter\\LineFormatter(null, null, true, true);
$formatter->includeStacktraces();
$handler->setFormatter($formatter);
$log = new \\Monolog\\Logger("shop", [$handler]);
try { main(); } catch (\\Exception $error) { $log->error("order failed", ["user" => 3, "exception" => $error]); }
""",
}

CSHARP = {
    "csharp_mono": """
using System;
using System.Collections.Generic;
using System.Linq;
namespace Shop {
  class StockException : Exception { public StockException(string m) : base(m) {} }
  class Orders {
    public static int Take(List<int> stock, string sku) {
      if (stock.Count == 0) throw new StockException("no stock\\nof " + sku);
      return stock[0];
    }
    public static int Place() {
      try { return new[] {"x"}.Select(sku => Take(new List<int>(), sku)).First(); }
      catch (StockException error) { throw new InvalidOperationException("order failed", error); }
    }
  }
  class Program { static void Main() { Orders.Place(); } }
}
""",
    "csharp_mono_task": """
using System;
using System.Threading.Tasks;
class Program {
  static async Task Load() { await Task.Delay(1); object none = null; none.ToString(); }
  static void Main() {
    try { Load().Wait(); } catch (Exception error) { Console.Error.WriteLine(error); }
  }
}
""",
}

RUBY = {
    "ruby_chain": """
class ConfigError < StandardError; end
def port(text)
  Integer(text)
rescue ArgumentError
  raise ConfigError, "bad port"
end
[1].each { port("eighty") }
""",
    "ruby_nil": """
def name(user)
  user.name.upcase
end
name(nil)
""",
    "ruby_multiline": "def check\n  raise \"2 checks failed:\\n  a\\n  b\"\nend\ncheck\n",
    "ruby_thread": "Thread.new { raise IOError, 'stream closed' }.join rescue nil\n",
}  # fmt: skip

RUBY_34 = """
const fs = require("fs");
const { DefaultRubyVM } = require("@ruby/wasm-wasi/dist/node");
(async () => {
  const binary = fs.readFileSync(require.resolve("@ruby/3.4-wasm-wasi/dist/ruby+stdlib.wasm"));
  const { vm } = await DefaultRubyVM(await WebAssembly.compile(binary));
  const text = JSON.stringify(process.argv[2]);
  process.stderr.write(vm.eval(`
begin
  RubyVM::InstructionSequence.compile(${text}, "/srv/shop/main.rb", "/srv/shop/main.rb").eval
rescue Exception => error
  error.full_message(highlight: false, order: :top)
end`).toString());
})();
"""

PYTHON = {
    "python_314": """
class OrderError(ValueError): pass
def total(lines):
    return sum(lines) / len(lines)
def order(lines):
    try:
        total(lines)
    except ZeroDivisionError as error:
        raise OrderError("no lines") from error
def serve():
    try:
        order([])
    except OrderError as error:
        error.add_note("order 17")
        raise RuntimeError("2 checks failed:\\n- lines\\n- total")
serve()
""",
    "python_314_group": """
def check(kind, text):
    try: raise kind(text)
    except kind as error: return error
def run():
    raise ExceptionGroup("jobs failed", [check(ValueError, "first"),
        ExceptionGroup("nested", [check(KeyError, "id")])])
run()
""",
    "python_314_syntax": "def broken():\n    imprt json\n",
    "python_314_recursion": "def again(n):\n    return again(n + 1)\nagain(0)\n",
    "python_314_json": "import json\njson.loads('{')\n",
}
PYODIDE = """
const { loadPyodide } = require("pyodide");
(async () => {
  const python = await loadPyodide({ stderr: (line) => process.stderr.write(line + "\\n") });
  for (const [name, text] of Object.entries(JSON.parse(process.argv[2]))) {
    python.FS.mkdirTree("/srv/shop");
    python.FS.writeFile("/srv/shop/main.py", text);
    process.stderr.write("@@@" + name + "\\n");
    python.runPython(`
import linecache, sys, traceback, _colorize
_colorize.can_colorize = lambda *a, **k: False
linecache.clearcache()
try:
    with open("/srv/shop/main.py") as file:
        exec(compile(file.read(), file.name, "exec"), {"__name__": "__main__"})
except BaseException as error:
    error.__traceback__ = error.__traceback__.tb_next
    sys.excepthook(type(error), error, error.__traceback__)
`);
  }
})();
"""


def stderr_of(command: list[str], folder: Path, out: str = "/dev/null") -> str:
    """What the command prints to stderr, under neutral paths."""
    with open(out, "w") as stdout:
        done = subprocess.run(
            command, cwd=folder, input="1", stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )
    text = re.sub(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", "2026-03-04T12:00:00", done.stderr)
    return text.replace(str(folder), "/srv/shop")


def main() -> None:
    """Write every sample."""
    packages = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sample, text in PHP.items():
            (folder / "main.php").write_text(text)
            command = ["php", "-d", "display_errors=0", "-d", "log_errors=1", "-d", "error_log="]
            (HERE / f"{sample}.txt").write_text(stderr_of([*command, str(folder / "main.php")], folder))
        for sample, text in CSHARP.items():
            (folder / "Program.cs").write_text(text)
            subprocess.run(["mcs", "-debug", "Program.cs"], cwd=folder, check=True)
            printed = stderr_of(["mono", "--debug", "Program.exe"], folder)
            (HERE / f"{sample}.txt").write_text(printed.partition("[ERROR] FATAL")[0].lstrip())
        for sample, text in RUBY.items():
            (folder / "main.rb").write_text(text)
            (HERE / f"{sample}.txt").write_text(stderr_of(["ruby", str(folder / "main.rb")], folder))
    (packages / "main.cjs").write_text(PYODIDE)
    (packages / "ruby.cjs").write_text(RUBY_34)
    for sample in ("ruby_chain", "ruby_multiline"):
        text = stderr_of(["node", "--no-warnings", "ruby.cjs", RUBY[sample]], packages)
        (HERE / f"{sample.replace('_', '_34_')}.txt").write_text(text)
    printed = stderr_of(["node", "main.cjs", json.dumps(PYTHON)], packages)
    for part in printed.split("@@@")[1:]:
        sample, _, text = part.partition("\n")
        (HERE / f"{sample}.txt").write_text(text)
    dart = packages / "node_modules/sass-embedded-linux-x64/dart-sass/src"
    sass = [str(dart / "dart"), str(dart / "sass.snapshot")]
    (HERE / "dart_unhandled.txt").write_text(stderr_of([*sass, "--interactive"], packages, "/dev/full"))
    (packages / "deep.scss").write_text("a { b: " + "(" * 200_000 + "1" + ")" * 200_000 + " }\n")
    head, *lines = stderr_of([*sass, "deep.scss"], packages).split("\n")
    (HERE / "dart_terse.txt").write_text("\n".join([head, *lines[:12], *lines[-16:]]))


if __name__ == "__main__":
    main()
