"""The page: what it takes and refuses, and a browser that draws a box, starts and watches."""

import contextlib
import json
import shutil
import socket
import threading
import urllib.error
import urllib.request
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from fake_model import FakeBackbone

import mosam.commands.demo.pick as pick_module
import mosam.commands.demo.run as run_module
import mosam.commands.demo.server as server_module
from mosam.commands.demo.pick import PickPage, Scene
from mosam.commands.demo.run import DemoOptions, run_demo
from mosam.commands.demo.source import Picture
from mosam.errors import MosamError

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")


def picture(n=0):
    image = np.full((90, 160, 3), 60, dtype=np.uint8)
    image[20:50, 30 + 3 * n : 70 + 3 * n] = 220
    return image


def marked(prompts):
    """A preview: as many white rows as there are objects."""
    image = picture()
    image[: len(prompts)] = 255
    return image


def opened(**options):
    return PickPage(Scene("clip", picture, marked, 40, **options), browser=False)


@pytest.fixture
def page():
    with opened() as one:
        yield one


def ask(page, path, body=None, *, key=None, host=None):
    base, _, own = page.url.partition("/?key=")
    sign = "&" if "?" in path else "?"
    headers = {} if host is None else {"Host": host}
    request = urllib.request.Request(f"{base}{path}{sign}key={own if key is None else key}", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, dict(answer.headers), answer.read()


def send(page, objects, path="/start"):
    """What the page answers to a drawing; one that is refused is answered with 400."""
    try:
        return json.loads(ask(page, path, json.dumps(objects).encode())[2])
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.loads(error.read())}


def test_the_page_needs_nothing_from_elsewhere(page):
    status, headers, body = ask(page, "/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b"http://" not in body
    assert b"https://" not in body
    assert ask(page, "/first.jpg")[2][:2] == b"\xff\xd8"


def test_only_the_printed_address_on_this_machine_is_answered(page):
    assert page.url.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(page, "/first.jpg", key="guess")
    with pytest.raises(urllib.error.HTTPError, match="400"):  # a name that somebody points at 127.0.0.1
        ask(page, "/first.jpg", host="evil.example")


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([], "at least one object"),
        ([{"box": [1, 2, 0, 4]}], "w > 0 and h > 0"),
        ([{"box": [1, 2, 3]}], "box: expected a list of 4"),
        ([{"box": [1, 2, True, 4]}], "expected a number, got true"),
        ([{"box": [1, 2, 10**400, 4]}], "expected a number, got"),
        ([{"box": [1, 2, float("nan"), 4]}], "expected numbers, got NaN"),
        ([{"points": [[1, 2]]}], "points[0]: expected a list of 3"),
        ([{"points": [[1, 2, 7]]}], "points[0][2]: expected 0 or 1, got the number 7"),
        ([{"point": []}], "expected a known field"),
        ([{"box": [400, 2, 3, 3]}], "lies beside it"),
        ([{"points": [[500, 2, 1]]}], "points on the picture"),
        ([{"points": [[5, 2, 0]]}], "only points that are not on it"),
        ("text", "expected a list"),
        ([1], "expected an object with fields"),
    ],
)
def test_wrong_drawings_are_told_and_change_nothing(page, objects, message):
    answer = send(page, objects)
    assert answer["status"] == 400
    assert message in answer["error"]
    assert send(page, [{"box": [30, 20, 40, 30], "points": [[40, 30, 1]]}]) == {}
    assert "begun already" in send(page, [{"box": [30, 20, 40, 30]}])["error"]
    (prompt,) = page.prompts()
    assert prompt.box.tolist() == [30, 20, 40, 30]
    assert prompt.points.tolist() == [[40, 30]]


def status_of(page, path, body=None, **options):
    try:
        return ask(page, path, body, **options)[0]
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("path", "body", "key", "status"),
    [
        ("/first.jpg", None, "%C3%A9", 400),
        ("/next?after=x", None, None, 400),
        ("/next?after=1.5", None, None, 400),
        ("/next?after=%D9%A1", None, None, 400),  # a digit, but not of ours
        ("/next?after=" + 5000 * "9", None, None, 400),
        ("/start", b"[" * 100_000, None, 400),
        ("/start", b"[{", None, 400),
        ("/start", b"\xff\xfe", None, 400),
        ("/start", b'[{"box": [1, 2, 1e999, 4]}]', None, 400),
        ("/start", b"[" + b" " * 2_000_000, None, 413),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_requests_that_no_page_sends_are_refused_and_change_nothing(page, path, body, key, status):
    assert status_of(page, path, body, key=key) == status
    assert send(page, [{"box": [30, 20, 40, 30]}]) == {}


def test_who_does_not_finish_a_request_is_cut_off(monkeypatch):
    monkeypatch.setattr(server_module, "ASKING", 0.4)
    with opened() as page:
        port = int(page.url.split(":")[2].split("/")[0])
        key = page.url.partition("?key=")[2]
        head = f"POST /start?key={key} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n["
        for part in ("", "GET /first.j", head):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as half:
                half.sendall(part.encode())
                with contextlib.suppress(ConnectionResetError):
                    assert half.recv(1) == b""
        waiting = threading.Timer(1.5, page.show, (0, picture()))  # an answer may take longer than a request
        waiting.start()
        assert ask(page, "/next?after=-1")[1]["x-frame"] == "0"


def test_the_key_is_in_no_process_arguments(monkeypatch):
    calls = []
    monkeypatch.setattr("webbrowser.open", calls.append)
    with PickPage(Scene("clip", picture, marked)) as page:
        (address,) = calls
        key = page.url.partition("?key=")[2]
        assert address.startswith("file://")
        assert key not in address
        way = Path(urllib.request.url2pathname(address.removeprefix("file://")))
        assert page.url in way.read_text()
        assert (way.stat().st_mode & 0o777, way.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not way.parent.exists()


def test_frames_are_handed_out_newest_first_and_then_the_end(page, tmp_path):
    send(page, [{"box": [30, 20, 40, 30]}])
    page.show(0, picture())
    page.show(3, picture(1))
    _, headers, body = ask(page, "/next?after=-1")
    assert (headers["x-frame"], body[:2]) == ("3", b"\xff\xd8")
    assert status_of(page, "/film") == 400
    film = tmp_path / "overlay.mp4"
    film.write_bytes(b"film")
    page.finish("all done", film)
    assert json.loads(ask(page, "/next?after=3")[2]) == {"done": "all done", "film": True}
    _, headers, body = ask(page, "/film")
    assert (headers["content-type"], body) == ("video/mp4", b"film")


def test_the_mask_is_shown_before_tracking_begins(page):
    _, headers, body = ask(page, "/preview", b'[{"box": [30, 20, 40, 30]}, {"points": [[90, 40, 1]]}]')
    assert (headers["content-type"], body[:2]) == ("image/jpeg", b"\xff\xd8")
    assert "lies beside it" in send(page, [{"box": [400, 2, 3, 3]}], "/preview")["error"]
    send(page, [{"box": [30, 20, 40, 30]}])
    assert "begun already" in send(page, [{"box": [30, 20, 40, 30]}], "/preview")["error"]


def test_objects_are_added_while_tracking_goes_on(page):
    more = [{"box": [80, 20, 40, 30], "points": [[90, 40, 1]]}]
    assert "nothing is tracked" in send(page, more, "/add")["error"]
    send(page, [{"box": [30, 20, 40, 30]}])
    assert [prompt.object_id for prompt in page.prompts()] == [1]
    assert send(page, more, "/add") == {"object": 2}
    assert "lies beside it" in send(page, [{"box": [400, 2, 3, 3]}], "/add")["error"]
    (new,) = page.added(12)
    assert (new.object_id, new.frame_index, new.box.tolist(), new.labels.tolist()) == (2, 12, [80, 20, 40, 30], [1])
    assert page.added(13) == []
    with opened(addable=False) as several:
        send(several, [{"box": [30, 20, 40, 30]}])
        assert "several side by side" in send(several, more, "/add")["error"]


def test_stop_and_again(page):
    send(page, [{"box": [30, 20, 40, 30]}])
    assert not page.stopped
    assert "not done" in send(page, [], "/again")["error"]
    send(page, [], "/stop")
    assert page.stopped
    page.finish("stopped")
    assert send(page, [], "/again") == {}
    assert page.again()
    assert json.loads(ask(page, "/info")[2])["state"] == "marking"
    send(page, [{"box": [10, 20, 40, 30]}])
    assert not page.stopped
    assert page.prompts()[0].box.tolist() == [10, 20, 40, 30]


def test_a_live_source_may_give_another_first_frame(page):
    assert "expected a live source" in send(page, [], "/refresh")["error"]
    shots = iter(range(9))
    with opened(refresh=lambda: next(shots)) as camera:
        assert json.loads(ask(camera, "/info")[2])["live"]
        send(camera, [], "/refresh")
        assert next(shots) == 1


def test_the_command_ends_when_the_page_is_closed(monkeypatch, page):
    monkeypatch.setattr(pick_module, "GOODBYE", 0.1)
    monkeypatch.setattr(pick_module, "PATIENCE", 0.5)
    send(page, [{"box": [30, 20, 40, 30]}])
    page.finish("done")
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(page.again()))
    waiting.start()
    send(page, [], "/leave")
    ask(page, "/wait")  # it was loaded anew
    waiting.join(0.5)
    assert waiting.is_alive()
    send(page, [], "/leave")
    waiting.join(5)
    assert ended == [False]


def test_what_goes_wrong_while_the_user_marks_ends_it(page):
    def broken():
        raise MosamError("no such network")

    with pytest.raises(MosamError, match="no such network"):
        page.prompts(broken)


def test_a_port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MosamError, match=f"--port {port}: expected a free port, got one that is in use"):
            PickPage(Scene("clip", picture, marked), port=port)


class Clip:
    """Forty frames of a square."""

    name, live, rate, length, expected, size, start = "clip", False, Fraction(25), 40, 40, (90, 160), 0

    def __iter__(self):
        for n in range(40):
            yield Picture(picture(n % 20))

    def first(self):
        return picture()

    def close(self):
        pass


@pytest.mark.slow
def test_a_person_draws_a_box_starts_and_sees_frames(tmp_path, monkeypatch):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    monkeypatch.setattr(run_module, "open_source", lambda text, rate, start: Clip())
    monkeypatch.setattr(run_module, "_load", lambda options: FakeBackbone())
    notes, finished = [], []
    found = threading.Event()

    class View:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def note(self, line):
            notes.append(line)
            if "http://" in line:
                found.set()

        def update(self, *numbers):
            pass

    options = DemoOptions("clip.mp4", pick=True, browser=False, tracker="sam2", out=tmp_path / "o")
    worker = threading.Thread(target=lambda: finished.append(run_demo(options, View)), daemon=True)
    worker.start()
    assert found.wait(60), notes
    url = next(line for line in notes if "http://" in line).split()[-1]
    problems = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 900, "height": 700})
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: problems.append(request.url) if "//127.0.0.1:" not in request.url else None)
        tab.goto(url)
        tab.wait_for_selector("body[data-ready=yes]")
        assert tab.locator("#start").is_disabled()
        edge = tab.locator("#picture").bounding_box()
        at = lambda x, y: (edge["x"] + x * edge["width"] / 160, edge["y"] + y * edge["height"] / 90)  # noqa: E731
        tab.mouse.move(*at(30, 20))
        tab.mouse.down()
        tab.mouse.move(*at(50, 40), steps=4)
        tab.mouse.move(*at(70, 50), steps=4)
        tab.mouse.up()
        tab.click("#more")
        tab.mouse.click(*at(120, 70))
        tab.screenshot(path=str(tmp_path / "drawn.png"))
        tab.wait_for_selector("body[data-preview=yes]", state="attached", timeout=60_000)
        tab.click("#off")
        tab.mouse.click(*at(125, 75))
        tab.click("#undo")
        tab.fill("#box", "30,20,2500,30")
        tab.press("#box", "Enter")
        tab.wait_for_selector("#status.error")
        assert "30,20,130,30 is what of it is on the picture" in tab.locator("#status").inner_text()
        tab.click("#undo")
        tab.wait_for_selector("#status:not(.error)", state="attached")
        tab.screenshot(path=str(tmp_path / "marked.png"))
        tab.click("#start")
        tab.wait_for_selector("body[data-frame]", state="attached", timeout=60_000)
        tab.screenshot(path=str(tmp_path / "tracked.png"))
        tab.wait_for_selector("body[data-done]", state="attached", timeout=60_000)
        status = tab.locator("#status").inner_text()
        tab.wait_for_function("document.getElementById('film').readyState > 1")
        tab.screenshot(path=str(tmp_path / "done.png"))
        tab.click("#again")
        tab.wait_for_selector("body[data-state=marking]")
        tab.fill("#box", "30,20,40,30")
        tab.press("#box", "Enter")
        tab.click("#start")
        tab.wait_for_selector("#stop")
        tab.click("#stop")
        tab.wait_for_selector("body[data-state=done]", timeout=60_000)
        browser.close()
    worker.join(60)
    assert len(problems) == 1  # the box that was refused
    assert "400" in problems[0]
    assert "sam2: 40 frames" in status
    assert (tmp_path / "o-2" / "overlay.mp4").exists()
    assert finished[0].out == tmp_path / "o-2"
    record = json.loads((tmp_path / "o" / "demo.json").read_text())
    assert [item["kind"] for item in record["prompts"]] == ["box", "point"]
    np.testing.assert_allclose(record["prompts"][0]["box"], [30, 20, 40, 30], atol=1.0)
