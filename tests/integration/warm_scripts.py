"""Small scripts that look at everything a Python process can see of how it was started; each runs cold and warm."""

from __future__ import annotations

SCRIPTS: dict[str, str | bytes] = {
    "argv": "import sys; print(sys.argv, sys.orig_argv[1:], sys.executable, sys.flags, sys._xoptions, sys.warnoptions)",
    "working_directory": "import os, pathlib; print(os.getcwd(), pathlib.Path.cwd(), os.listdir('.'), os.environ.get('PWD'))",
    "environment": """
import os, ctypes, subprocess
print(sorted(os.environ.items()))
print(subprocess.run(["env"], capture_output=True, text=True).stdout)
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(getenv(b"OWN"), getenv(b"PIPELINE_QUEUE_PADDING"))
""",
    "environment_of_proc": """
print(sorted(open("/proc/self/environ", "rb").read().split(b"\\0")))
print(open("/proc/self/cmdline", "rb").read(), open("/proc/self/comm").read())
""",
    "main_module": """
import sys
print(__name__, __file__, __spec__, __package__, __doc__, __cached__, type(__builtins__), type(__loader__), __annotations__)
print(sorted(globals()), sys.modules["__main__"].__dict__ is globals(), vars(sys.modules["__main__"]).keys())
print(__loader__.get_filename(), __loader__.name)
""",
    "documented": '"""A doc."""\nx: int = 3\nprint(__doc__, __annotations__)\n',
    "search_path": "import sys; print(sys.path, sys.meta_path, sys.path_hooks)",
    "neighbour": """
import helper, package.inner
print(helper.VALUE, helper.__file__, package.inner.__name__, helper.__spec__.origin)
""",
    "script_in_a_folder": "exec(open('sub_main.py').read())",
    "subprocess": """
import subprocess, sys
print(subprocess.run([sys.executable, "-c", "import sys, os; print(sys.path[1:], os.getpgid(0) == os.getsid(0))"],
                     capture_output=True, text=True))
subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
""",
    "multiprocessing_spawn": """
import multiprocessing
def square(x): return x * x
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(square, range(5)))
    print(multiprocessing.current_process().name, multiprocessing.parent_process())
""",
    "multiprocessing_fork": """
import multiprocessing, os
def work(queue): queue.put((os.getppid() == PARENT, __name__))
PARENT = os.getpid()
queue = multiprocessing.get_context("fork").Queue()
process = multiprocessing.get_context("fork").Process(target=work, args=(queue,))
process.start(); print(queue.get()); process.join(); print(process.exitcode)
""",
    "multiprocessing_forkserver": """
import multiprocessing
def double(x): return 2 * x
if __name__ == "__main__":
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        print(pool.map(double, [1, 2]))
""",
    "process_pool": """
import concurrent.futures
def negative(x): return -x
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        print(list(pool.map(negative, range(4))))
""",
    "fork": """
import os
pid = os.fork()
if pid == 0:
    print("child", flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
    "threads": """
import threading
def work(): print(threading.current_thread().name, threading.main_thread().is_alive())
thread = threading.Thread(target=work, name="mine"); thread.start(); thread.join()
print(threading.current_thread() is threading.main_thread(), threading.current_thread().name, threading.active_count())
print(threading.main_thread().native_id == __import__("os").getpid(), threading.get_native_id() == threading.main_thread().native_id)
""",
    "thread_outlives_main": """
import threading, time
def work():
    time.sleep(0.2); print("late")
threading.Thread(target=work).start()
print("main ends")
""",
    "daemon_thread": """
import threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("main ends")
""",
    "thread_fails": """
import threading
threading.Thread(target=lambda: 1 / 0, name="bad").start()
""",
    "logging": """
import logging
logging.warning("to stderr"); logging.basicConfig(level=logging.INFO, filename="log.txt", format="%(message)s %(filename)s %(lineno)d %(funcName)s")
logging.getLogger("a.b").info("text")
logging.info("to file")
""",
    "atexit": """
import atexit
atexit.register(print, "first"); atexit.register(print, "second")
@atexit.register
def fails(): raise ValueError("in atexit")
print("end of script")
""",
    "atexit_exits": "import atexit, sys; atexit.register(sys.exit, 5); print('x')",
    "exit_code": "import sys; sys.exit(37)",
    "exit_code_large": "import sys; sys.exit(256 + 3)",
    "exit_code_huge": "import sys; sys.exit(2**70)",
    "exit_negative": "import sys; sys.exit(-1)",
    "exit_none": "import sys; print('a'); sys.exit()",
    "exit_true": "import sys; sys.exit(True)",
    "exit_text": "import sys; print('out'); sys.exit('a text')",
    "exit_object": "import sys; sys.exit(('a', 1))",
    "exit_builtin": "print('before'); exit(4)",
    "exit_in_function": "import sys\ndef main():\n    try:\n        return 6\n    finally:\n        print('finally')\nsys.exit(main())",
    "uncaught": """
def inner(): raise ValueError("wrong\\nlines")
def outer():
    try:
        inner()
    except ValueError as error:
        raise RuntimeError("chained") from error
print("before")
outer()
""",
    "uncaught_group": "raise ExceptionGroup('several', [ValueError(1), TypeError('x')])",
    "uncaught_in_module": "import broken",
    "uncaught_import": "import no_such_module_anywhere",
    "syntax_error": "print('never')\nx = = 3\n",
    "indentation_error": "def f():\nreturn 1\n",
    "null_byte": "print(1)\n\0\n",
    "latin1": b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\n",
    "bad_utf8": b"print('\xe9')\n",
    "byte_order_mark": b"\xef\xbb\xbfprint('bom', __file__)\n",
    "excepthook": """
import sys
def hook(kind, error, trace): print("hooked", kind.__name__, error, trace.tb_lineno, trace.tb_next)
sys.excepthook = hook
1 / 0
""",
    "excepthook_fails": "import sys\ndef hook(*_): raise KeyError('in hook')\nsys.excepthook = hook\n1 / 0\n",
    "excepthook_exits": "import sys\nsys.excepthook = lambda *_: sys.exit(9)\n1 / 0\n",
    "keyboard_interrupt": "raise KeyboardInterrupt",
    "interrupted": "import os, signal; print('x', flush=True); os.kill(os.getpid(), signal.SIGINT)",
    "killed": "import os, signal; print('lost?'); os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "import os, signal; print('x', flush=True); os.kill(os.getpid(), signal.SIGTERM)",
    "aborted": "import os; print('x', flush=True); os.abort()",
    "segfault": "import ctypes; print('x', flush=True); ctypes.string_at(0)",
    "hard_exit": "import os, sys; sys.stdout.write('unflushed'); os._exit(5)",
    "signals": """
import signal
print([(int(n), str(signal.getsignal(n))) for n in sorted(signal.valid_signals())])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1), signal.getitimer(signal.ITIMER_REAL))
print([line for line in open("/proc/self/status") if line.startswith(("Sig", "Shd"))][1:])
""",
    "signal_handler": """
import os, signal
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", number, frame.f_code.co_name))
os.kill(os.getpid(), signal.SIGUSR1)
signal.setitimer(signal.ITIMER_REAL, 0.01); signal.signal(signal.SIGALRM, lambda *_: print("alarm")); signal.pause()
""",
    "big_output": "import sys\nfor n in range(20000): print(n, 'x' * 50)\nsys.stderr.write('e' * 100000)\n",
    "mixed_output": "import sys, os\nfor n in range(50):\n    print('out', n); print('err', n, file=sys.stderr); os.write(1, b'raw\\n')\n",
    "unflushed": "import sys; sys.stdout.write('no newline'); open('file.txt', 'w').write('never closed'); f = open('kept.txt', 'w'); f.write('kept open')",
    "unflushed_in_a_cycle": "class A: pass\na = A(); a.a = a; a.file = open('cycle.txt', 'w'); a.file.write('x'); del a",
    "unflushed_in_a_preloaded_module": "import fractions; fractions.file = open('other.txt', 'w'); fractions.file.write('x')",
    "unflushed_in_a_traceback": "def f():\n    file = open('trace.txt', 'w'); file.write('x'); 1 / 0\nf()",
    "streams": """
import sys
for s in (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__):
    print(s.name, s.encoding, s.errors, s.mode, s.line_buffering, getattr(s, "write_through", None), s.isatty(), s.fileno(), s.seekable(), type(s.buffer))
""",
    "replaced_stdout": "import sys, io\nsys.stdout = open('redirected.txt', 'w')\nprint('to the file')\n",
    "closed_stdout": "import sys\nprint('a'); sys.stdout.close()\n",
    "closed_descriptor": "import os, sys\nsys.stdout.write('lost'); os.close(1)\n",
    "no_streams": "import sys\nprint('x'); sys.stdout = sys.stderr = None\nprint('nowhere'); raise ValueError\n",
    "warnings": """
import warnings
warnings.warn("shown"); warnings.warn("deep", stacklevel=2); warnings.warn("deeper", DeprecationWarning, stacklevel=3)
def old(): warnings.warn("old", DeprecationWarning, stacklevel=2)
old(); old(); print(warnings.filters)
""",
    "frames": """
import inspect, sys, traceback
print(len(inspect.stack()), sys._getframe().f_back, sys._getframe().f_code.co_filename, sys._getframe().f_code.co_name)
traceback.print_stack()
def f(): traceback.print_stack(); print(sys.exc_info())
f()
try: sys._getframe(1)
except ValueError as error: print(error)
""",
    "input_at_end": "input()",
    "stdin": "import sys; print(repr(sys.stdin.read()), sys.stdin.buffer.read()); import os; print(os.readlink('/proc/self/fd/0'))",
    "descriptors": """
import os
print(sorted((n, os.readlink(f"/proc/self/fd/{n}").split(":")[0]) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")))
print([os.get_inheritable(n) for n in range(3)])
""",
    "process": """
import os, resource
print(os.getpid() == os.getsid(0) == os.getpgrp(), oct(os.umask(0)), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0))
print([resource.getrlimit(n) for n in range(10)])
try: os.waitpid(-1, os.WNOHANG)
except ChildProcessError: print("no children")
print(len(os.listdir("/proc/self/task")), os.path.exists("/dev/tty") and open)
""".replace(" and open", ""),
    "parent": "import os; print(open(f'/proc/{os.getppid()}/cmdline').read().split('\\0')[1:4])",
    "garbage": """
import gc, weakref
class A:
    def __del__(self): print("del", NAME)
NAME = "still here"
print(gc.isenabled(), gc.get_threshold(), gc.get_debug())
a = A(); a.me = a; del a; print(gc.collect() > 0)
kept = A()
weakref.finalize(kept, print, "finalized")
""",
    "generator_left_open": "def g():\n    try:\n        yield 1\n    finally:\n        print('closed')\nx = g(); next(x)\n",
    "asyncio": """
import asyncio
async def main():
    process = await asyncio.create_subprocess_exec("sh", "-c", "exit 4")
    print(await process.wait(), await asyncio.to_thread(int, "3"))
asyncio.run(main())
""",
    "tempfile": "import tempfile; print(tempfile.gettempdir()); tempfile.NamedTemporaryFile(dir='.'); open('x', 'w').close()",
    "pickle": """
import pickle
class Own: pass
print(pickle.loads(pickle.dumps(Own())).__class__ is Own, Own.__module__, pickle.dumps(Own()))
""",
    "runpy": "import runpy; print(runpy.run_path('helper.py')['VALUE'], runpy.run_module('package.inner')['__name__'])",
    "limits_of_recursion": "import sys; print(sys.getrecursionlimit())\ndef f(): f()\ntry: f()\nexcept RecursionError as e: print(e)\n",
    "locale": "import locale, sys; print(locale.getlocale(), sys.getfilesystemencoding(), locale.setlocale(locale.LC_ALL), sys.getdefaultencoding())",
    "own_module_named_like_a_loaded_one": "import fractions; print(fractions.__file__)",
    "datetime": "import time, os; print(time.tzname, time.process_time() < 5, os.times().children_user < 5)",
    "doctest": "import doctest\ndef f():\n    '''\n    >>> f()\n    1\n    '''\n    return 1\nprint(doctest.testmod())\n",
    "unittest": "import unittest, sys\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(__name__, '__main__')\nunittest.main(verbosity=0, testRunner=unittest.TextTestRunner(stream=open('/dev/null', 'w')))\n",
    "deletes_itself": "import os; os.unlink(__file__); 1 / 0",
    "changes_directory": "import os, sys; os.chdir('/'); sys.path.insert(0, 'x'); import atexit; atexit.register(lambda: print(os.getcwd()))",
    "annotated_dataclass": "import dataclasses, typing\n@dataclasses.dataclass\nclass P:\n    x: 'int'\nprint(P(1), typing.get_type_hints(P))\n",
}  # fmt: skip

ENVIRONMENTS = {
    "unbuffered": {"PYTHONUNBUFFERED": "1"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "encoding": {"PYTHONIOENCODING": "latin-1:replace"},
    "warnings": {"PYTHONWARNINGS": "error"},
    "developer": {"PYTHONDEVMODE": "1"},
    "no_bytecode": {"PYTHONDONTWRITEBYTECODE": "1"},
    "safe_path": {"PYTHONSAFEPATH": "1"},
    "hash_seed": {"PYTHONHASHSEED": "0"},
    "optimized": {"PYTHONOPTIMIZE": "1"},
}
OF_THE_ENVIRONMENT = """
import sys, warnings
print(sys.flags, sys.path, sys.stdout.encoding, sys.stdout.errors, sys.stdout.write_through, sys.dont_write_bytecode, sys.warnoptions)
print(ascii(sys.argv)); sys.stdout.write("un"); sys.stderr.write("buffered"); sys.stdout.write("\\xe9\\n"); assert not sys.flags.optimize
if sys.flags.hash_randomization == 0: print(hash("x"))
warnings.warn("a warning"); open("left open", "w")
"""

NUMERIC = {
    "blas": "import numpy as np; a = np.arange(250000.).reshape(500, 500) % 7; print((a @ a).sum(), np.linalg.svd(a[:50, :50])[1][:2].round(6))",
    "blas_in_threads": """
import concurrent.futures, numpy as np
a = np.arange(250000.).reshape(500, 500) % 7
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(set(pool.map(lambda n: float((a @ a).sum()), range(8))))
""",
    "blas_in_forks": """
import multiprocessing, numpy as np
a = np.arange(250000.).reshape(500, 500) % 7
def work(n): return float((a @ a).sum())
print(work(0))
with multiprocessing.get_context("fork").Pool(2) as pool: print(pool.map(work, range(3)))
""",
    "seeded": "import numpy as np; np.random.seed(3); print(np.random.rand(3), np.random.default_rng(4).random(2))",
    "environment": "import os, sklearn.linear_model; print(sorted(os.environ.items()))",
    "forest": """
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
x = np.random.RandomState(0).rand(200, 4); y = x[:, 0] > x[:, 1]
print(cross_val_score(RandomForestClassifier(20, random_state=0, n_jobs=2), x, y, cv=3))
""",
    "clusters": """
import numpy as np
from sklearn.cluster import KMeans
x = np.random.RandomState(0).rand(3000, 4)
print(KMeans(3, n_init=2, random_state=0).fit(x).inertia_.round(6))
""",
    "joblib": """
import joblib
def triple(n): return 3 * n
if __name__ == "__main__":
    print(joblib.Parallel(n_jobs=2)(joblib.delayed(triple)(n) for n in range(5)))
""",
    "convergence_warning": """
import numpy as np
from sklearn.linear_model import LogisticRegression
x = np.random.RandomState(0).rand(200, 4)
LogisticRegression(max_iter=1).fit(x, x[:, 0] > 0.5)
""",
}  # fmt: skip
