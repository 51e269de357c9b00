"""The page in a real browser (headless Chromium), and a page of LaSOT's size."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands.report.pages import made_lasot, tracked

from mosam.commands.report import ReportOptions, build_report

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[3]
SECONDS, CORES, BYTES = 60, 2, 15_000_000


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A report of two trackers, on disk."""
    folder = tmp_path_factory.mktemp("page")
    dataset = made_lasot(folder)
    for tracker, shift in (("mosam", 3), ("sam2", 300)):
        tracked(folder, dataset, tracker, shift=shift, model="nano")
    path = folder / "page.html"
    path.write_text(build_report([folder / "results"], ReportOptions(data=folder)))
    return path


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium of the system."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine")
    with (
        api.sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=["--no-sandbox"]) as opened,
    ):
        yield opened


@pytest.fixture(params=[("light", 1200), ("dark", 1200), ("light", 390)], ids=lambda p: f"{p[0]}-{p[1]}")
def page(request, browser, page_file):
    """The page, in both color schemes and on a phone; what the browser complains of is in `page.complaints`."""
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme)
    opened = context.new_page()
    opened.complaints = []
    opened.on("console", lambda m: opened.complaints.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else opened.complaints.append(r.url))
    opened.goto(page_file.as_uri())
    yield opened
    context.close()


def column(page, number, table="#b1-table"):
    return page.locator(f"{table} tbody tr:not([hidden])").evaluate_all(
        "(rows, n) => rows.map(row => row.cells[n].textContent.trim())", number
    )


def test_sorts_filters_and_opens_a_sequence(page):
    names, worst = column(page, 0), [float(value) for value in column(page, 2)]
    assert len(names) == 2
    heading = page.locator("#b1-table thead button").nth(2)
    heading.click()
    assert page.locator("#b1-table thead th").nth(2).get_attribute("aria-sort") == "descending"
    assert [float(value) for value in column(page, 2)] == sorted(worst, reverse=True)
    heading.press("Enter")  # by keyboard, the other way round
    assert page.locator("#b1-table thead th").nth(2).get_attribute("aria-sort") == "ascending"
    assert [float(value) for value in column(page, 2)] == sorted(worst)
    page.locator("#b1-overview thead button").first.click()
    assert column(page, 0, "#b1-overview")[0].startswith("mosam")

    page.get_by_label("Filter sequences").fill(names[1].upper())
    assert column(page, 0) == [names[1]]
    assert page.locator("#b1-table-count").text_content() == "1 of 2 shown"
    assert page.locator("details:visible").count() == 1
    page.get_by_label("Filter sequences").fill("")
    page.get_by_label("Filter trackers").fill("sam2")
    assert len(column(page, 0, "#b1-overview")) == 1

    assert page.locator("details[open]").count() == 0
    page.locator("#b1-table a", has_text=names[0]).press("Enter")
    opened = page.locator("details[open]")
    opened.first.wait_for()  # it opens a moment after the jump
    assert opened.count() == 1
    assert opened.locator("svg[role=img]").is_visible()
    strip = opened.locator("img")
    strip.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('details[open] img')].every(i => i.naturalWidth > 0)")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert page.complaints == []


def test_settings_and_downloads(page):
    rows = page.locator("#b1-diff tbody tr:visible")
    assert 0 < rows.count() < page.locator("#b1-diff tbody tr").count()
    page.get_by_label("Only what differs").uncheck()
    assert rows.count() == page.locator("#b1-diff tbody tr").count()
    with page.expect_download() as download:
        page.locator("#b1-files + ul a", has_text="mosam nano").click()
    assert '"tracker": "mosam"' in Path(download.value.path()).read_text()
    with page.expect_download() as download:
        page.locator("a.save").first.click()
    assert "<svg" in Path(download.value.path()).read_text()
    assert page.complaints == []


def test_is_accessible_and_fits(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.locator("#b1-table a").first.click()
    found = axe.Axe().run(page)
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found.response["violations"]] == []
    assert len(found.response["passes"]) > 20  # it looked
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # only tables scroll sideways


def test_a_page_of_the_size_of_lasot():
    command = [sys.executable, PROJECT / "benchmarks" / "report.py", "--sequences", "280", "--trackers", "5"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    cpu, megabytes = re.search(r"([0-9.]+) CPU s, ([0-9.]+) MB", done.stdout).groups()
    assert float(cpu) < SECONDS * CORES  # of all processes: company on the machine is no fault of ours
    assert float(megabytes) * 1e6 < BYTES
