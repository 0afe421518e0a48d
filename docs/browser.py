"A headless Chromium, driven over its DevTools protocol."
import json, shutil, subprocess, tempfile, time, urllib.request
from pathlib import Path
from websocket import WebSocketTimeoutException, create_connection

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--remote-debugging-port=0")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Browser:
    "One tab. `events` holds what the browser reported since the last `open`."
    def __init__(self):
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if not found: raise RuntimeError("no Chromium found: apt-get install chromium")
        self.folder = tempfile.mkdtemp(prefix="scvae-docs-")
        command = [found, *FLAGS, f"--user-data-dir={self.folder}", "about:blank"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        tabs = json.load(urllib.request.urlopen(f"http://127.0.0.1:{self._port()}/json"))
        url = next(t for t in tabs if t["type"] == "page")["webSocketDebuggerUrl"]
        self.socket = create_connection(url, suppress_origin=True, timeout=60)
        self.events, self.count = [], 0
        for domain in ("Page", "Runtime", "Log", "Network"): self.call(f"{domain}.enable")

    def _port(self, seconds=60):
        "The port that the browser chose; it writes it into its folder."
        path = Path(self.folder)/"DevToolsActivePort"
        for _ in range(seconds * 10):
            if path.exists() and "\n" in path.read_text(): return path.read_text().split()[0]
            code = self.process.poll()
            if code is not None: raise RuntimeError(f"Chromium ended with {code}")
            time.sleep(.1)
        raise RuntimeError("Chromium did not start within a minute")

    def _receive(self):
        message = json.loads(self.socket.recv())
        if "method" in message: self.events.append(message)
        return message

    def call(self, method, **params):
        "Ask, and wait for the answer."
        self.count += 1
        self.socket.send(json.dumps(dict(id=self.count, method=method, params=params)))
        while (answer := self._receive()).get("id") != self.count: pass
        if "error" in answer: raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def settle(self, seconds=.3):
        "Read what comes for a while."
        end = time.time() + seconds
        while (left := end - time.time()) > 0:
            self.socket.settimeout(left)
            try: self._receive()
            except WebSocketTimeoutException: break
        self.socket.settimeout(60)

    def open(self, url, width=1280, height=900, dark=False):
        "Load a page and wait until it is there."
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 700)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events = []
        self.call("Page.navigate", url=url)
        end = time.time() + 60
        loaded = lambda: any(e["method"] == "Page.loadEventFired" for e in self.events)
        while not loaded() and time.time() < end: self._receive()
        self.settle()

    def js(self, expression):
        "The value of an expression in the page."
        how = dict(awaitPromise=True, returnByValue=True)
        answer = self.call("Runtime.evaluate", expression=expression, **how)
        if "exceptionDetails" in answer:
            said = answer["exceptionDetails"]["exception"].get("description")
            raise RuntimeError(f"{expression}: {said}")
        return answer["result"].get("value")

    def until(self, expression, seconds=20):
        "Wait until an expression is true, perhaps on a page that is on its way."
        end = time.time() + seconds
        while not (value := self.js_if_there(expression)):
            assert time.time() < end, f"still not true after {seconds} s: {expression}"
            self.settle(.1)
        return value

    def js_if_there(self, expression):
        "The value of an expression; None while one page gives way to another."
        try: return self.js(expression)
        except RuntimeError as error:
            if "navigated" in str(error) or "context" in str(error): return None
            raise

    def key(self, name):
        "Press a key."
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "Enter": 13, "Tab": 9, "w": 87}
        text = {"Enter": "\r"}.get(name, name if len(name) == 1 else None)
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                      windowsVirtualKeyCode=codes[name], **more)

    def click(self, x, y):
        "Move to a point and press the left button."
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def _said(self, method):
        return [e["params"] for e in self.events if e["method"] == method]

    def errors(self):
        "What the page complained about: exceptions, errors on the console, requests that failed."
        said = self._said("Runtime.exceptionThrown") + self._said("Network.loadingFailed")
        calls = self._said("Runtime.consoleAPICalled")
        said += [p for p in calls if p["type"] in ("error", "assert")]
        said += [p for p in self._said("Log.entryAdded") if p["entry"]["level"] == "error"]
        return [json.dumps(s)[:600] for s in said if not s.get("canceled")]

    def requests(self):
        "The addresses that were asked for."
        return [p["request"]["url"] for p in self._said("Network.requestWillBeSent")]

    def weight(self):
        "Bytes that came."
        return sum(p["encodedDataLength"] for p in self._said("Network.loadingFinished"))

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
