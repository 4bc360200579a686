# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of the WebDriver protocol to drive Chromium through chromedriver, with Python's own library only."""
import base64
import json
import os
import shutil
import struct
import subprocess
import urllib.request
import zlib

ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'
KEYS = {'Tab': '\ue004', 'Home': '\ue011', 'Left': '\ue012', 'Up': '\ue013', 'Right': '\ue014', 'Down': '\ue015', 'Enter': '\ue007'}


def available():
    return shutil.which('chromedriver') and (shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome'))


class Browser:
    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.driver = subprocess.Popen(['chromedriver', '--port=0'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                       env={**os.environ, 'TMPDIR': folder})
        self.session = None
        port = None
        for line in self.driver.stdout:
            if 'started successfully on port' in line:
                port = int(line.split('port')[1].strip(' .\n'))
                break
        if port is None:
            raise RuntimeError('chromedriver did not start')
        self.base = f'http://127.0.0.1:{port}'
        binary = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
        arguments = ['--headless=new', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars', '--no-first-run',
                     f'--user-data-dir={folder}']
        if os.geteuid() == 0:
            arguments.append('--no-sandbox')  # Chromium refuses to run as root with it
        options = {'args': arguments, 'binary': binary}
        wanted = {'capabilities': {'alwaysMatch': {'goog:loggingPrefs': {'browser': 'ALL'}, 'goog:chromeOptions': options,
                                                   'timeouts': {'script': 200000, 'pageLoad': 200000}}}}
        for left in (2, 1, 0):  # on a busy machine Chromium may not be there within the time that chromedriver gives it
            try:
                value = self.call('POST', '/session', wanted)
                break
            except RuntimeError:
                if left == 0:
                    self.close()
                    raise
        self.session = '/session/' + value['sessionId']

    def call(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == 'POST' else None
        request = urllib.request.Request(self.base + path, method=method, data=data, headers={'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=240) as answer:
                return json.load(answer)['value']
        except urllib.error.HTTPError as error:
            raise RuntimeError(f'{method} {path}: {json.load(error)["value"].get("message", "")[:600]}') from None

    def js(self, script, *arguments):
        """Runs a script in the page; a promise that it returns is waited for."""
        return self.call('POST', self.session + '/execute/sync', {'script': script, 'args': list(arguments)})

    def go(self, url):
        self.call('POST', self.session + '/url', {'url': url})

    def cdp(self, command, **parameters):
        return self.call('POST', self.session + '/goog/cdp/execute', {'cmd': command, 'params': parameters})

    def size(self, width, height):
        self.cdp('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, **features):
        self.cdp('Emulation.setEmulatedMedia', features=[{'name': k.replace('_', '-'), 'value': v} for k, v in features.items()])

    def find(self, selector):
        return self.call('POST', self.session + '/element', {'using': 'css selector', 'value': selector})

    def click(self, selector):
        self.call('POST', f'{self.session}/element/{self.find(selector)[ELEMENT]}/click')

    def press(self, *keys):
        """Keys to whatever has the focus."""
        actions = []
        for key in keys:
            value = KEYS.get(key, key)
            actions += [{'type': 'keyDown', 'value': value}, {'type': 'keyUp', 'value': value}]
        self.call('POST', self.session + '/actions', {'actions': [{'type': 'key', 'id': 'keys', 'actions': actions}]})

    def hover(self, x, y):
        """The pointer to a place of the viewport."""
        move = {'type': 'pointerMove', 'x': round(x), 'y': round(y), 'duration': 0, 'origin': 'viewport'}
        self.call('POST', self.session + '/actions', {'actions': [
            {'type': 'pointer', 'id': 'mouse', 'parameters': {'pointerType': 'mouse'}, 'actions': [move]}]})

    def screenshot(self, width, height, scale=1):
        """The first pixels of the page as PNG."""
        clip = {'x': 0, 'y': 0, 'width': width, 'height': height, 'scale': scale}
        return base64.b64decode(self.cdp('Page.captureScreenshot', format='png', captureBeyondViewport=True, clip=clip)['data'])

    def log(self):
        return self.call('POST', self.session + '/se/log', {'type': 'browser'})

    def close(self):
        try:
            if self.session:
                self.call('DELETE', self.session)
        except (OSError, RuntimeError):
            pass
        self.driver.terminate()
        try:
            self.driver.wait(60)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
        self.driver.stdout.close()


def colours(png):
    """(width, height, number of colours) of a PNG of 8 bits, not interlaced."""
    at, packed = 8, b''
    width = height = channels = 0
    while at < len(png):
        size, kind = struct.unpack('>I4s', png[at:at + 8])
        body = png[at + 8:at + 8 + size]
        if kind == b'IHDR':
            width, height, depth, colour = struct.unpack('>IIBB', body[:10])
            assert depth == 8, depth
            channels = {0: 1, 2: 3, 6: 4}[colour]
        elif kind == b'IDAT':
            packed += body
        at += size + 12
    raw, row, seen = zlib.decompress(packed), width * channels, set()
    before = bytearray(row)
    for y in range(height):
        mode, line = raw[y * (row + 1)], bytearray(raw[y * (row + 1) + 1:(y + 1) * (row + 1)])
        if mode == 1:
            for i in range(channels, row):
                line[i] = (line[i] + line[i - channels]) & 255
        elif mode == 2:
            for i in range(row):
                line[i] = (line[i] + before[i]) & 255
        elif mode == 3:
            for i in range(row):
                left = line[i - channels] if i >= channels else 0
                line[i] = (line[i] + (left + before[i]) // 2) & 255
        elif mode == 4:
            for i in range(row):
                a = line[i - channels] if i >= channels else 0
                b, c = before[i], before[i - channels] if i >= channels else 0
                pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                line[i] = (line[i] + (a if pa <= pb and pa <= pc else b if pb <= pc else c)) & 255
        seen.update(bytes(line[i:i + channels]) for i in range(0, row, channels))
        before = line
    return width, height, len(seen)
