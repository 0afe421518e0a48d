"What a job in the background has to ignore, and its children with it, the tests need."
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
for name in ("SIGTERM", "SIGHUP"):
    if hasattr(signal, name): signal.signal(getattr(signal, name), signal.SIG_DFL)
