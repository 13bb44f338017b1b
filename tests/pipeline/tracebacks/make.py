"""Makes this folder's corpus: runs small programs that fail, and writes what they print and which events that is.

Needs Python, node, javac and go on the PATH. A program prints a line `@@@` between two events, which is taken out
again; so what the events are is known without any framing. Ruby and C# are written by hand after the formats of their
runtimes. What real PHP, Dart, Ruby 3.1 and 3.4, and Python 3.14 print stands in `tests/stages/tracebacks`.
"""

# ruff: noqa: E501 - real log lines are as long as they are

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

# name: (language, what each part between `@@@` is, program). `-`: each line is an event; `+`: one event without an error;
# else one event with this error type.
PYTHON_LOG = """
import logging, sys
logging.basicConfig(format=FORMAT, stream=sys.stderr, level=logging.DEBUG)
logging.getLogger("asyncio").setLevel(logging.INFO)
log = logging.getLogger("app.worker")
def cut(): print("@@@", file=sys.stderr, flush=True)
"""
ISO = PYTHON_LOG.replace("FORMAT", '"%(asctime)s %(levelname)s %(name)s: %(message)s"')
PLAIN = PYTHON_LOG.replace("FORMAT", '"%(levelname)s:%(name)s:%(message)s"')
BRACKET = PYTHON_LOG.replace("FORMAT", '"[%(asctime)s] [%(levelname)s] %(message)s"')
CLOCK = PYTHON_LOG.replace("FORMAT", '"%(asctime)s.%(msecs)03d %(levelname)-8s %(message)s", datefmt="%H:%M:%S"')

CASES: dict[str, tuple[str, list[str], str]] = {
    "python_bare_simple": ("python", ["-", "ZeroDivisionError"], """
import sys
print("starting up", file=sys.stderr)
print("loading 3 modules", file=sys.stderr)
print("@@@", file=sys.stderr)
def ratio(a, b):
    return a / b
ratio(1, 0)
"""),
    "python_bare_context": ("python", ["RuntimeError"], """
def load(key):
    return {}[key]
def serve():
    try:
        load("user")
    except KeyError:
        raise RuntimeError("no such user")
serve()
"""),
    "python_bare_cause": ("python", ["app.errors.ConfigError", "-"], """
import sys, traceback
class ConfigError(Exception): pass
ConfigError.__module__ = "app.errors"
def port(text):
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"bad port {text!r}") from error
try:
    try:
        port("eighty")
    except ConfigError:
        [][1]
except IndexError as error:
    wrapped = ConfigError("giving up"); wrapped.__cause__ = error
    try: raise wrapped
    except ConfigError: traceback.print_exc()
print("@@@", file=sys.stderr)
print("restarting in 5 seconds", file=sys.stderr)
"""),
    "python_bare_group": ("python", ["ExceptionGroup", "-"], """
import sys, traceback
def fail(kind, text):
    try: raise kind(text)
    except kind as error: return error
try:
    raise ExceptionGroup("3 tasks failed", [fail(ValueError, "bad\\ninput"), fail(OSError, "disk full"),
        ExceptionGroup("nested", [fail(KeyError, "id"), fail(TimeoutError, "30 s")])])
except ExceptionGroup:
    traceback.print_exc()
print("@@@\\ndone with errors", file=sys.stderr)
"""),
    "python_bare_notes": ("python", ["TypeError"], """
def build():
    error = TypeError("cannot add")
    error.add_note("while building the index")
    error.add_note("  field: title\\n  row: 17")
    raise error
build()
"""),
    "python_bare_recursion": ("python", ["RecursionError"], """
def depth(n):
    return depth(n + 1)
depth(0)
"""),
    "python_bare_syntax": ("python", ["SyntaxError"], """
def broken(:
    pass
"""),
    "python_bare_settings": ("python", ["ValidationError"], """
import sys
class ValidationError(ValueError): pass
ValidationError.__module__ = "pydantic_core._pydantic_core"
raise ValidationError('''2 validation errors for Settings
slack_token
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2/v/missing
openai_key
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2/v/missing''')
"""),
    "python_bare_thread": ("python", ["-", "OSError", "-"], """
import sys, threading
print("worker up", file=sys.stderr)
print("@@@", file=sys.stderr)
def work(): raise OSError(28, "No space left on device")
thread = threading.Thread(target=work); thread.start(); thread.join()
print("@@@", file=sys.stderr)
print("worker gone", file=sys.stderr)
"""),
    "python_bare_two": ("python", ["ValueError", "KeyError"], """
import sys, traceback
for error in (ValueError("first"), KeyError("second")):
    try: raise error
    except Exception: traceback.print_exc()
    print("@@@", file=sys.stderr)
"""),
    "python_bare_pool": ("python", ["ValueError"], """
import multiprocessing
def work(n): raise ValueError(f"bad part {n}")
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(work, [1])
"""),
    "python_bare_logging_error": ("python", ["TypeError", "-"], """
import logging, sys
logging.warning("%d items", "many")
print("@@@\\ngoing on", file=sys.stderr)
"""),
    "python_log_exception": ("python", ["-", "ValueError", "-"], ISO + """
log.info("started"); log.debug("cache is cold"); cut()
def parse(text): return int(text)
try: parse("x1")
except ValueError: log.exception("cannot parse the request")
cut(); log.info("next request")
"""),
    "python_log_chain": ("python", ["-", "RuntimeError", "-"], PLAIN + """
log.info("started"); cut()
try:
    try: {}["session"]
    except KeyError as error: raise RuntimeError("session lost") from error
except RuntimeError: log.exception("turn failed")
cut(); log.warning("retrying"); log.info("recovered")
"""),
    "python_log_group": ("python", ["ExceptionGroup", "-"], BRACKET + """
import asyncio
async def fail(n): raise ValueError(f"part {n}")
async def main():
    async with asyncio.TaskGroup() as group:
        for n in range(3): group.create_task(fail(n))
try: asyncio.run(main())
except ExceptionGroup: log.exception("tasks failed")
cut(); log.info("next")
"""),
    "python_log_multiline_message": ("python", ["-", "DatabaseError", "-"], CLOCK + """
class DatabaseError(Exception): pass
log.info("query 1"); cut()
try: raise DatabaseError('relation "users" does not exist\\nLINE 1: SELECT * FROM users\\n                      ^\\n')
except DatabaseError: log.exception("query failed:\\nSELECT *\\nFROM users\\n\\nWHERE id = 1")
cut(); log.info("query 2")
"""),
    "python_log_code_fence": ("python", ["-", "+", "-"], ISO + """
log.info("attempt=1"); cut()
log.debug('raw_content=```json\\n{"ops": [{"op": "add", "path": "/a"}]}\\n{\\n  "ops": []\\n}\\n```'); cut()
log.info("attempt=2")
"""),
    "python_log_asyncio": ("python", ["ConnectionResetError", "-"], PLAIN + """
import asyncio, gc
async def fail(): raise ConnectionResetError(104, "Connection reset by peer")
async def main():
    task = asyncio.ensure_future(fail()); await asyncio.sleep(0); await asyncio.sleep(0)
    del task; gc.collect()
asyncio.run(main()); cut(); log.info("bye")
"""),
    "python_log_stack_info": ("python", ["+", "-"], ISO + """
def inner(): log.warning("who calls this?", stack_info=True)
inner(); cut(); log.info("bye")
"""),
    "node_bare_uncaught": ("node", ["TypeError"], """
function total(cart) {
  return cart.items.length;
}
total({});
"""),
    "node_bare_cause": ("node", ["-", "Error"], """
console.error('listening on 8080');
console.error('@@@');
function query() { throw new RangeError('limit is negative'); }
try { query(); } catch (error) { throw new Error('request failed', { cause: error }); }
"""),
    "node_bare_rejection": ("node", ["Error"], """
async function fetchUser() { throw new Error('upstream said 502'); }
fetchUser();
"""),
    "node_bare_rejected_value": ("node", ["UnhandledPromiseRejection"], """
Promise.reject('just a text');
"""),
    "node_bare_code": ("node", ["Error", "-"], """
require('fs').readFile('/nonexistent/config.json', (error) => {
  console.error(error.stack); console.error('@@@'); console.error('using defaults'); console.error('ready');
});
"""),
    "node_bare_properties": ("node", ["Error"], """
require('fs').readFileSync('/nonexistent/config.json');
"""),
    "node_bare_syntax": ("node", ["SyntaxError"], """
function broken( {
  return 1;
}
}
"""),
    "node_bare_multiline_message": ("node", ["-", "ShellError", "-"], """
class ShellError extends Error { constructor(m) { super(m); this.name = 'ShellError'; } }
console.error('building');
console.error('@@@');
console.error(new ShellError('Command failed: make\\nmake: *** No targets.  Stop.').stack);
console.error('@@@');
console.error('gave up');
"""),
    "node_log_json": ("node", ["-", "Error", "-"], """
const log = (level, msg) => console.error(JSON.stringify({ level, time: 1795600000000, msg }));
log(30, 'listening'); console.error('@@@');
log(50, 'request failed'); console.error(new Error('boom').stack); console.error('@@@');
log(30, 'next');
"""),
    "node_log_iso": ("node", ["-", "AggregateError", "-"], """
const log = (level, ...rest) => console.error(`2026-11-03T10:00:00.123Z ${level}`, ...rest);
log('info', 'up'); console.error('@@@');
log('error', 'all mirrors failed', new AggregateError([new Error('mirror a'), new TypeError('mirror b')], 'no mirror'));
console.error('@@@'); log('info', 'waiting');
"""),
    "node_log_logfmt": ("node", ["-", "TypeError", "-"], """
console.error('level=info msg="up"'); console.error('@@@');
console.error('level=error msg="handler failed"');
console.error(new TypeError("Cannot read properties of undefined\\n(reading 'id')", { cause: new Error('inner') }));
console.error('@@@'); console.error('level=info msg="next"');
"""),
    "java_bare_main": ("java", ["java.lang.IllegalStateException"], """
public class Main {
    static void connect() { throw new IllegalArgumentException("port 0"); }
    public static void main(String[] a) {
        try { connect(); } catch (RuntimeException e) { throw new IllegalStateException("cannot start", e); }
    }
}
"""),
    "java_bare_suppressed": ("java", ["-", "java.io.IOException"], """
public class Main {
    static class Pool implements AutoCloseable {
        public void close() throws java.io.IOException { throw new java.io.IOException("already closed"); }
    }
    public static void main(String[] a) throws Exception {
        System.err.println("opening the pool"); System.err.println("@@@");
        try (Pool p = new Pool()) { throw new java.io.IOException("read failed", new RuntimeException("cable")); }
    }
}
"""),
    "java_bare_print": ("java", ["-", "java.util.NoSuchElementException", "-"], """
public class Main {
    public static void main(String[] a) {
        System.err.println("job 1 begins"); System.err.println("@@@");
        try { new java.util.ArrayDeque<String>().removeFirst(); }
        catch (RuntimeException e) { e.printStackTrace(); }
        System.err.println("@@@"); System.err.println("job 2 begins"); System.err.println("job 2 ends");
    }
}
"""),
    "java_bare_multiline_message": ("java", ["java.lang.RuntimeException"], """
public class Main {
    public static void main(String[] a) {
        throw new RuntimeException("bad query\\nSELECT *\\n\\nFROM users", new Error("first\\nsecond"));
    }
}
"""),
    "java_bare_overflow": ("java", ["java.lang.StackOverflowError", "-"], """
public class Main {
    static int depth(int n) { return depth(n + 1) + 1; }
    public static void main(String[] a) {
        try { depth(0); } catch (StackOverflowError e) { e.printStackTrace(); }
        System.err.println("@@@\\nstill alive");
    }
}
"""),
    "java_log_two_line_heads": ("java", ["+", "java.lang.NullPointerException", "+"], """
import java.util.logging.*;
public class Main {
    public static void main(String[] a) {
        Logger log = Logger.getLogger("app");
        log.info("started"); System.err.println("@@@");
        try { Object o = null; o.toString(); } catch (Exception e) { log.log(Level.SEVERE, "handler failed", e); }
        System.err.println("@@@"); log.warning("going on");
    }
}
"""),
    "java_log_thread_level": ("java", ["-", "java.lang.ArithmeticException", "-"], """
public class Main {
    public static void main(String[] a) {
        System.err.println("[main] INFO app.Main - up\\n@@@\\n[pool-1-thread-2] ERROR app.Main - job failed");
        try { System.err.println(1 / (a.length)); } catch (Exception e) { e.printStackTrace(); }
        System.err.println("@@@\\n[main] INFO app.Main - down");
    }
}
"""),
    "java_log_clock": ("java", ["-", "java.util.concurrent.ExecutionException", "-"], """
import java.util.concurrent.*;
public class Main {
    public static void main(String[] a) throws Exception {
        System.err.println("10:00:00.123 [main] INFO  app.Main - up\\n@@@\\n10:00:00.456 [main] ERROR app.Main - task failed");
        ExecutorService pool = Executors.newFixedThreadPool(1);
        try { pool.submit(() -> { throw new IllegalStateException("inside"); }).get(); }
        catch (ExecutionException e) { e.printStackTrace(); }
        pool.shutdown();
        System.err.println("@@@\\n10:00:00.789 [main] INFO  app.Main - down");
    }
}
"""),
    "java_log_iso": ("java", ["-", "java.lang.NumberFormatException", "-"], """
public class Main {
    public static void main(String[] a) {
        System.err.println("2026-11-03T10:00:00.123Z  INFO 1 --- [main] app.Main : up\\n@@@");
        System.err.println("2026-11-03T10:00:00.456Z ERROR 1 --- [main] app.Main : request failed\\n");
        try { Integer.parseInt("x"); } catch (Exception e) { e.printStackTrace(); }
        System.err.println("\\n@@@\\n2026-11-03T10:00:00.789Z  INFO 1 --- [main] app.Main : down");
    }
}
"""),
    "go_bare_panic": ("go", ["-", "panic"], """
package main
import ("fmt"; "os")
type store struct{ items []int }
func (s *store) get(n int) int { return s.items[n] }
func main() { fmt.Fprintln(os.Stderr, "listening\\n@@@"); println((&store{}).get(3)) }
"""),
    "go_bare_nil": ("go", ["panic"], """
package main
type node struct{ next *node; value int }
func sum(n *node) int { return n.value + sum(n.next) }
func main() { println(sum(&node{value: 1})) }
"""),
    "go_bare_multiline": ("go", ["panic"], """
package main
import "errors"
func main() { panic(errors.Join(errors.New("disk full"), errors.New("cannot roll back"))) }
"""),
    "go_bare_again": ("go", ["panic"], """
package main
func main() {
	defer func() { r := recover(); defer func() { panic("in the handler") }(); panic(r) }()
	panic("first")
}
"""),
    "go_bare_deadlock": ("go", ["fatal error"], """
package main
func main() { c := make(chan int); go func() { c <- 1; c <- 2 }(); <-c; <-make(chan int) }
"""),
    "go_bare_overflow": ("go", ["fatal error"], """
package main
import "runtime/debug"
func depth(n int) int { return depth(n+1) + 1 }
func main() { debug.SetMaxStack(1 << 16); println(depth(0)) }
"""),
    "go_log_recovered": ("go", ["-", "panic", "-"], """
package main
import ("log"; "runtime/debug"; "os"; "fmt")
func handle() {
	defer func() { if r := recover(); r != nil { log.Printf("panic serving: %v\\n%s", r, debug.Stack()) } }()
	var m map[string]int
	m["a"] = 1
}
func main() {
	log.Print("up"); fmt.Fprintln(os.Stderr, "@@@"); handle(); fmt.Fprintln(os.Stderr, "@@@"); log.Print("next")
}
"""),
    "go_log_klog": ("go", ["-", "panic", "-"], """
package main
import ("fmt"; "os"; "runtime/debug")
func main() {
	fmt.Fprintln(os.Stderr, "I1103 10:00:00.123456       1 main.go:10] up\\n@@@")
	fmt.Fprintf(os.Stderr, "E1103 10:00:00.123456       1 runtime.go:79] Observed a panic: nil map\\n%s", debug.Stack())
	fmt.Fprintln(os.Stderr, "@@@\\nI1103 10:00:01.123456       1 main.go:12] next")
}
"""),
    "go_log_slog_then_panic": ("go", ["-", "panic"], """
package main
import ("fmt"; "os"; "log/slog")
func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	log.Info("up"); fmt.Fprintln(os.Stderr, "@@@"); log.Error("about to fail")
	panic(fmt.Errorf("wrapped: %w", os.ErrNotExist))
}
"""),
    "ruby_bare_simple": ("text", ["-", "RuntimeError", "-"], """booting
@@@
/srv/app/lib/worker.rb:12:in 'App::Worker#call': queue is gone (RuntimeError)
	from /srv/app/lib/worker.rb:7:in 'block in App::Worker#run'
	from <internal:kernel>:168:in 'Kernel#loop'
	from /srv/app/lib/worker.rb:6:in 'App::Worker#run'
	from /srv/app/bin/worker:3:in '<main>'
@@@
exited with 1
"""),
    "ruby_bare_cause": ("text", ["App::ConfigError"], """/srv/app/lib/config.rb:9:in `rescue in port': bad port (App::ConfigError)
	from /srv/app/lib/config.rb:6:in `port'
	from /srv/app/bin/app:4:in `<main>'
/srv/app/lib/config.rb:7:in `Integer': invalid value for Integer(): "eighty" (ArgumentError)
	from /srv/app/lib/config.rb:7:in `port'
	from /srv/app/bin/app:4:in `<main>'
"""),
    "ruby_bare_highlight": ("text", ["NoMethodError", "-"], """/srv/app/lib/user.rb:4:in 'User#name': undefined method 'upcase' for nil (NoMethodError)

    @name.upcase
         ^^^^^^^
	from /srv/app/bin/app:9:in 'block in <main>'
	from /srv/app/bin/app:8:in 'Array#each'
	from /srv/app/bin/app:8:in '<main>'
@@@
stopped
"""),
    "ruby_bare_thread": ("text", ["IOError", "-"], """#<Thread:0x00007f1c2a0b3c48 /srv/app/lib/pump.rb:3 run> terminated with exception (report_on_exception is true):
/srv/app/lib/pump.rb:5:in 'IO#read': stream closed (IOError)
	from /srv/app/lib/pump.rb:5:in 'block in Pump#start'
@@@
pump stopped
"""),
    "ruby_log_logger": ("text", ["-", "ZeroDivisionError", "-"], """I, [2026-11-03T10:00:00.123456 #71]  INFO -- : up
@@@
E, [2026-11-03T10:00:01.123456 #71] ERROR -- : divided by 0 (ZeroDivisionError)
/srv/app/lib/math.rb:3:in 'Integer#/'
/srv/app/lib/math.rb:3:in 'App.ratio'
/srv/app/bin/app:7:in '<main>'
@@@
W, [2026-11-03T10:00:02.123456 #71]  WARN -- : going on
"""),
    "ruby_log_rails": ("text", ["-", "ActiveRecord::RecordNotFound", "-"], """[2026-11-03 10:00:00] INFO Started GET "/users/7"
@@@
[2026-11-03 10:00:01] FATAL
ActiveRecord::RecordNotFound (Couldn't find User with 'id'=7):

app/controllers/users_controller.rb:12:in 'UsersController#show'
lib/middleware.rb:5:in 'Middleware#call'
@@@
[2026-11-03 10:00:02] INFO Completed 404 Not Found
"""),
    "csharp_bare_unhandled": ("text", ["-", "System.InvalidOperationException"], """Reading settings
@@@
Unhandled exception. System.InvalidOperationException: Cannot start
 ---> System.FormatException: The input string 'eighty' was not in a correct format.
   at System.Number.ThrowFormatException[TChar](ReadOnlySpan`1 value)
   at System.Int32.Parse(String s)
   at App.Settings.Port() in /srv/app/Settings.cs:line 14
   --- End of inner exception stack trace ---
   at App.Settings.Port() in /srv/app/Settings.cs:line 18
   at App.Program.Main(String[] args) in /srv/app/Program.cs:line 5
"""),
    "csharp_bare_async": ("text", ["System.Net.Http.HttpRequestException", "-"], """System.Net.Http.HttpRequestException: Connection refused (upstream:8080)
 ---> System.Net.Sockets.SocketException (111): Connection refused
   at System.Net.Sockets.Socket.AwaitableSocketAsyncEventArgs.ThrowException(SocketError error, CancellationToken token)
   --- End of inner exception stack trace ---
   at App.Client.GetAsync() in /srv/app/Client.cs:line 31
--- End of stack trace from previous location ---
   at App.Worker.RunAsync() in /srv/app/Worker.cs:line 12
@@@
Retrying in 5 s
"""),
    "csharp_log_console": ("text", ["+", "System.NullReferenceException", "+"], """info: Microsoft.Hosting.Lifetime[14]
      Now listening on: http://[::]:8080
@@@
fail: Microsoft.AspNetCore.Server.Kestrel[13]
      Connection id "0HN7", Request id "0HN7:00000001": An unhandled exception was thrown by the application.
      System.NullReferenceException: Object reference not set to an instance of an object.
         at App.Handlers.Show(HttpContext context) in /srv/app/Handlers.cs:line 22
         at Microsoft.AspNetCore.Routing.EndpointMiddleware.Invoke(HttpContext httpContext)
@@@
info: Microsoft.Hosting.Lifetime[0]
      Application is shutting down...
"""),
    "csharp_log_serilog": ("text", ["-", "System.TimeoutException", "-"], """[10:00:00 INF] up
@@@
[10:00:01 ERR] Order 7 failed
System.TimeoutException: The operation has timed out.
   at App.Orders.SaveAsync(Order order) in /srv/app/Orders.cs:line 40
   at App.Orders.HandleAsync(Order order) in /srv/app/Orders.cs:line 18
@@@
[10:00:02 INF] Order 8 saved
"""),
}  # fmt: skip


def run(language: str, program: str, folder: Path) -> str:
    """What the program prints to stderr."""
    commands = {
        "python": ("main.py", [[sys.executable, "-X", "utf8", "main.py"]]),
        "node": ("main.js", [["node", str(folder / "main.js")]]),
        "java": ("Main.java", [["javac", "-g", "Main.java"], ["java", "-cp", ".", "Main"]]),
        "go": ("main.go", [["go", "mod", "init", "app"], ["go", "build", "-o", "app", "."], ["./app"]]),
    }
    name, steps = commands[language]
    (folder / name).write_text(program.lstrip("\n"))
    for step in steps[:-1]:
        subprocess.run(step, cwd=folder, check=True, capture_output=True)
    done = subprocess.run(
        steps[-1], cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False
    )
    return done.stderr


def neutral(text: str, folder: Path) -> str:
    """The same under neutral paths, at a fixed time."""
    text = text.replace(str(folder), "/srv/app").replace('File "main.py"', 'File "/srv/app/main.py"')
    text = text.replace(sys.base_prefix + "/lib/", "/usr/lib/").replace("/usr/local/lib/", "/usr/lib/")
    text = re.sub(r"\b20\d\d([-/])\d\d[-/]\d\d([ T])\d\d:\d\d:\d\d", r"2026\g<1>11\g<1>03\g<2>10:00:00", text)
    text = re.sub(r"^[A-Z][a-z]{2} \d{2}, 20\d\d \d+:\d\d:\d\d [AP]M", "Nov 03, 2026 10:00:00 AM", text, flags=re.M)
    return re.sub(r"^\d\d:\d\d:\d\d\.\d{3}", "10:00:00.123", text, flags=re.M)


def main() -> None:
    """Write every log file and `expected.json`."""
    expected = {}
    for name, (language, kinds, program) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            text = program if language == "text" else neutral(run(language, program, Path(folder)), Path(folder))
        parts = [part for part in text.split("@@@\n") if part]
        assert len(parts) == len(kinds), (name, kinds, text)
        events = []
        for kind, part in zip(kinds, parts, strict=True):
            error = None if kind in "-+" else kind
            assert error is None or error.split(".")[-1] in part, (name, kind, part)
            for event in part.splitlines() if kind == "-" else [part.rstrip("\n")]:
                first, *more = event.split("\n")
                events.append({"first": first, "lines": 1 + len(more), "error_type": error})
        (HERE / f"{name}.log").write_text("".join(parts))
        expected[name] = events
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    assert all(map(shutil.which, ("node", "javac", "go"))), "node, javac and go must be there"
    main()
