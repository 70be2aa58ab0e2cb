"""The page as a file: complete, escaped, honest in words, and small."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from jnrsfm.metrics.quality_report import assess
from jnrsfm.report import Contents, notebook_html, write_report
from jnrsfm.report.curves import loss_svg, series
from jnrsfm.report.page import as_script_json, pack
from jnrsfm.report.scene import build_scene
from jnrsfm.report.summary import elapsed, number, summarise, what_was_done

pytestmark = pytest.mark.fast

HOSTILE = "</script><script>boom()</script><img src=x onerror=boom()>\"'&{{data}}"


class Outline(HTMLParser):
    """Elements and the text that a reader sees."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.seen, self.inside = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.seen.append(data)


def write(walker, path, **changes):
    landmarks, result, truth = walker.example(12)
    return write_report(
        path, Contents(**{
            "input": landmarks, "result": result, "reference": truth, "history": walker.history(),
            "quality": walker.QUALITY, "settings": walker.SETTINGS, "scores": walker.SCORES, "title": "A walker",
            **changes,
        },)).read_text("utf-8")  # fmt: skip


def data_of(text):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1)
    )


def unpack(packed, shape):
    def read(key, kind):
        return np.frombuffer(base64.b64decode(packed[key]), kind)

    codes = read("q", "<i2").reshape(shape)
    centre, step = read("centre", "<f4").reshape(shape[0], 1, shape[2]), read("step", "<f4").reshape(-1, 1, 1)
    return np.where(codes == -32768, np.nan, centre + codes * step)


def test_the_page_is_complete_and_refers_to_nothing_outside(walker, tmp_path):
    text = write(walker, tmp_path / "report.html")
    page = Outline(text)
    assert not re.search(r"https?://|//[\w-]+\.|@import|url\(", text)
    assert not [
        a for a in page.attributes if a[1] in ("src", "srcset", "action", "style") or a[1].startswith("on")
    ]
    assert [a[2] for a in page.attributes if a[1] == "href"] == [
        "data:,",
        "#quality-report",
        "#quality-report",
    ]
    policy = next(a[2] for a in page.attributes if a[1] == "content" and "default-src" in a[2])
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "{{" not in "".join(page.seen)
    assert len(text) < 150_000
    ids = [a[2] for a in page.attributes if a[1] == "id"]
    assert len(ids) == len(set(ids))
    # every control has words: a label around it, or an aria-label
    assert text.count("<select") == len(re.findall(r"<label[^>]*>[^<]*<select", text, re.S))


def test_hostile_text_is_shown_and_not_run(walker, tmp_path):
    landmarks, _, _ = walker.example(12)
    text = write(
        walker, tmp_path / "r.html", title=HOSTILE, input=landmarks.replace(names=(HOSTILE,) * 15),
        quality={"items": [dict.fromkeys(("name", "value", "unit", "explain"), HOSTILE)], "warnings": [HOSTILE]},
        settings={HOSTILE: [HOSTILE], "method": HOSTILE}, scores={HOSTILE: {HOSTILE: HOSTILE}},
        history=[{"step": s, "loss": 0.1, "phase": HOSTILE + str(s)} for s in (1, 2)],
    )  # fmt: skip
    page = Outline(text)
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert "".join(page.seen).count(HOSTILE) >= 8
    assert data_of(text)["names"] == [HOSTILE] * 15


def test_script_json_has_no_markup():
    text = as_script_json({"a": "</script><!--&\u2028é"})
    assert not set("<>&\u2028é") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028é"}
    with pytest.raises(ValueError):
        as_script_json(float("nan"))


def test_packing_keeps_five_digits_and_gaps(rng):
    points = rng.normal(size=(6, 9, 3)) * np.logspace(-3, 6, 6)[:, None, None] + 1e3
    points[2, 3] = np.nan
    points[4] = np.nan
    points[5, 1, 0] = np.inf
    back = unpack(pack(points), points.shape)
    finite = np.isfinite(points)
    assert (np.isfinite(back) == finite).all()
    extent = np.array(
        [np.ptp(f[np.isfinite(f).all(1)], axis=0).max() if np.isfinite(f).any() else 1 for f in points]
    )
    error = np.where(finite, np.abs(back - points), 0.0).max((1, 2))
    assert (error < extent / 30_000 + 1e-3).all()


def test_the_data_are_the_scene(walker, tmp_path):
    data = data_of(write(walker, tmp_path / "r.html"))
    landmarks, result, truth = walker.example(12)
    scene = build_scene(landmarks, result, truth)
    np.testing.assert_allclose(unpack(data["shape"], (12, 15, 3)), scene.shape, atol=1e-4)
    np.testing.assert_allclose(unpack(data["observed"], (12, 15, 2)), scene.observed, atol=0.02)
    np.testing.assert_allclose(unpack(data["reference"], (12, 15, 3)), scene.reference, atol=1e-4)
    turns = np.frombuffer(base64.b64decode(data["steady"]), "<i2").reshape(12, 3, 3) / 32767
    np.testing.assert_allclose(turns, scene.steady, atol=1e-4)
    assert (data["names"], data["edges"]) == (list(walker.NAMES), walker.EDGES.tolist())


def test_long_sets_are_thinned_and_the_page_says_so(walker, tmp_path):
    landmarks, result, _ = walker.example(3200)
    text = write(walker, tmp_path / "r.html", input=landmarks, result=result, reference=None, scores=None)
    assert data_of(text)["frames"] == 1067
    assert "it shows 1,067 of 3,200 frames: every 3. of each clip." in text
    assert "3,200 frames" in "".join(Outline(text).seen)
    assert len(text) < 1_200_000


def test_the_summary_says_what_was_done(walker):
    landmarks, result, _ = walker.example(12)
    said = what_was_done(build_scene(landmarks, result), walker.history(rows=20), walker.SETTINGS)
    assert said.startswith("The 3D positions of 15 points in 12 frames (0.5 s at 24 frames per second)")
    for words in (
        "weak-perspective camera",
        "by the method deep-nrsfm++",
        "in 10 s",
        "% of the points were not seen",
    ):
        assert words in said
    assert elapsed((), {"seconds": 3}) == 3.0
    assert elapsed((), None) is None


@pytest.mark.parametrize(
    ("verdicts", "warned", "worst", "words"),
    [
        (["good", "poor", "fair"], False, "poor", "Do not rely on this 3D yet. Poor: N1."),
        (["good", "fair", "unknown"], False, "fair", "with care. Only fair: N1."),
        (["good", "unknown"], False, "good", "nothing against it"),
        (["good"], True, "fair", "read the warnings"),
        (["unknown", "odd"], False, "unknown", "no check was made"),
        ([], False, "unknown", "no check was made"),
    ],
)
def test_the_summary_follows_the_worst_verdict(verdicts, warned, worst, words):
    items = [{"name": f"n{i}", "value": 1, "verdict": v} for i, v in enumerate(verdicts)]
    verdict, said = summarise({"items": items, "warnings": ["w"] * warned})
    assert verdict == worst
    assert words in said
    assert summarise(None)[0] == "unknown"


def test_the_real_quality_report_is_shown_in_plain_words(walker, tmp_path):
    landmarks, result, _ = walker.example(48)
    quality = assess(landmarks, result, heldout={"error": 0.02, "baseline": 0.4, "count": 50})
    text = "".join(Outline(write(walker, tmp_path / "r.html", input=landmarks, result=result,
                                 reference=None, quality=quality)).seen)  # fmt: skip
    assert not [i["name"] for i in quality["items"] if "_" in i["name"] and i["name"] in text]
    assert "Hidden test points2 % of object size" in text
    assert text.count("it was made from") == 0  # the reminder that is no warning
    for item in quality["items"]:
        assert item["explain"] in text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.12345, "", "0.1235"), (3.0, "%", "3 %"), (None, "x", "–"), (float("nan"), "", "–"), (41, "°", "41°"),
     (True, "", "yes"), ("word", "", "word"), (float("inf"), "", "inf"), (1e-7, "m", "1e-07 m")],
)  # fmt: skip
def test_numbers_for_readers(value, unit, text):
    assert number(value, unit) == text


def test_the_loss_curve(walker):
    steps, values = series(walker.history(), "loss")
    assert values.shape == (60, 4)
    assert np.isnan(values[31:, 3]).all()
    assert steps[-1] == 3000
    svg = ET.fromstring(
        re.match(r'<div class="scroll">(<svg.*</svg>)</div>', loss_svg(walker.history())).group(1)
    )
    lines = svg.findall(".//polyline")
    assert len(lines) == 5  # four restarts and the held-out points
    assert len(svg.findall(".//*[@class='line loss main']")) == 1
    y = [float(p.split(",")[1]) for p in lines[0].get("points").split()]
    assert y[0] < y[-1]  # the loss falls, and y points down
    # a logarithmic scale: equal factors are equal distances
    svg = ET.fromstring(
        re.search(r"<svg.*</svg>", loss_svg([{"step": s, "loss": 10.0**-s} for s in range(4)])).group()
    )
    y = [float(p.split(",")[1]) for p in svg.find(".//polyline").get("points").split()]
    np.testing.assert_allclose(np.diff(y), np.diff(y)[0], atol=0.11)


@pytest.mark.parametrize(
    "rows",
    [[{"step": 1, "loss": 0.5}], [{"step": 0, "loss": -1.0}, {"step": 5, "loss": 2.0}],
     [{"step": 1, "loss": [float("nan"), 1.0]}, {"step": 2, "loss": [None, 1.0]}]],
)  # fmt: skip
def test_odd_histories_still_draw(rows):
    assert "nan" not in loss_svg(rows)


def test_names_of_phases_do_not_overlap():
    begins = {
        0: "a",
        90: "warm-up of the network",
        92: "annealing",
        94: "final",
        95: "polish",
        99: "last of all",
    }
    rows = [{"step": s, "loss": 1.0, "phase": name} for s, name in begins.items()]
    svg = loss_svg([*rows, {"step": 100, "loss": 1.0, "phase": "last of all"}])
    width = float(re.search(r'viewBox="0 0 (\d+)', svg).group(1))
    names = list(begins.values())[1:]
    found = re.findall(rf'<text class="tick" x="([\d.]+)" y="([\d.]+)">({"|".join(names)})</text>', svg)
    spans = [(float(y), float(x), float(x) + 6 * len(name)) for x, y, name in found]
    assert len(found) >= 3
    assert all(a >= 0 and b <= width for _, a, b in spans)
    for i, (row, a, b) in enumerate(spans):
        assert not any(row == r and a < d and c < b for r, c, d in spans[:i])
    assert all(f"<title>{name}</title>" in svg for name in names)


def test_no_history_no_curve(walker, tmp_path):
    assert loss_svg([]) is None
    assert loss_svg([{"step": 1, "loss": float("nan")}, {"step": 2}]) is None
    assert "<h2>Training</h2>" not in write(walker, tmp_path / "r.html", history=())


def test_a_notebook_shows_what_it_is_and_the_verdict(walker):
    landmarks, result, _ = walker.example(4)
    bare = result._repr_html_()
    assert "4 frames" in bare
    assert "<table" not in bare
    quality = {**walker.QUALITY, "verdict": {"word": "fair", "text": "fair: <b> & so on"}}
    shown = notebook_html(Contents(result, landmarks, quality=quality))
    assert "Verdict: <b>fair: &lt;b&gt; &amp; so on</b>" in shown
    assert shown.count("<tr>") == 1 + len(walker.QUALITY["items"])
    assert "<script" not in shown


def test_frames_to_look_at_first_are_buttons(walker, tmp_path):
    told = {"word": "fair", "text": "fair: read the warnings", "frames": [3, 1, 10_000]}
    page = write(walker, tmp_path / "r.html", quality={"verdict": told, "items": [], "warnings": []})
    buttons = '<button type="button" data-go="3">3</button> <button type="button" data-go="1">1</button></p>'
    assert buttons in page
    assert '<p class="look">' not in write(walker, tmp_path / "r.html")
