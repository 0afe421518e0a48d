"A headless Chromium, driven over its DevTools protocol."
import json, shutil, subprocess, tempfile, time, urllib.request
from pathlib import Path
from websocket import WebSocketTimeoutException, create_connection

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Browser:
    "One tab. `events` holds what the browser reported since the last `open`."
    def __init__(self):
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if not found: raise RuntimeError("no Chromium found: install it (apt-get install chromium)")
        self.folder = tempfile.mkdtemp(prefix="scvae-docs-")
        self.process = subprocess.Popen([found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-dev-shm-usage",
            "--hide-scrollbars", f"--user-data-dir={self.folder}", "--remote-debugging-port=0", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = self._port()
        tabs = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        self.socket = create_connection(next(t for t in tabs if t["type"] == "page")["webSocketDebuggerUrl"], suppress_origin=True, timeout=60)
        self.events, self.count = [], 0
        for domain in ("Page", "Runtime", "Log", "Network"): self.call(f"{domain}.enable")

    def _port(self, seconds=60):
        "The port that the browser chose; it writes it into its folder."
        path = Path(self.folder)/"DevToolsActivePort"
        for _ in range(seconds * 10):
            if path.exists() and "\n" in path.read_text(): return path.read_text().split()[0]
            if self.process.poll() is not None: raise RuntimeError(f"Chromium ended with {self.process.returncode}")
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
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events = []
        self.call("Page.navigate", url=url)
        end = time.time() + 60
        while not any(e["method"] == "Page.loadEventFired" for e in self.events) and time.time() < end: self._receive()
        self.settle()

    def js(self, expression):
        "The value of an expression in the page."
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer: raise RuntimeError(f"{expression}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    def until(self, expression, seconds=20):
        "Wait until an expression is true."
        end = time.time() + seconds
        while not (value := self.js(expression)):
            assert time.time() < end, f"still not true after {seconds} s: {expression}"
            self.settle(.1)
        return value

    def key(self, name):
        "Press a key."
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "Enter": 13, "Tab": 9, "w": 87}
        more = {"text": "\r"} if name == "Enter" else {"text": name} if len(name) == 1 else {}
        for kind in ("keyDown", "keyUp"): self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name], **(more if kind == "keyDown" else {}))

    def errors(self):
        "What the page complained about: exceptions, errors on the console, requests that failed."
        said = [e["params"] for e in self.events if e["method"] in ("Runtime.exceptionThrown", "Network.loadingFailed")]
        said += [e["params"] for e in self.events if e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "assert")]
        said += [e["params"]["entry"] for e in self.events if e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error"]
        return [json.dumps(s)[:600] for s in said if not s.get("canceled")]

    def requests(self):
        "The addresses that were asked for."
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def weight(self):
        "Bytes that came."
        return sum(e["params"]["encodedDataLength"] for e in self.events if e["method"] == "Network.loadingFinished")

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
