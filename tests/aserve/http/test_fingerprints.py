"""Which names have a hash in them. A wrong yes is a stale file for a year, a wrong no a 304."""

from aserve.http.fingerprints import is_fingerprinted

# As the tools name what they build.
HASHED = [
    *("assets/index-BJ3kd9_x.js", "assets/index-BRBmoGS9.css", "assets/logo-BsAcMfKj.svg"),  # Vite
    *("assets/framework.DPDPlp3K.js", "assets/inter-roman.Di8DUHzh.woff2"),  # VitePress
    *("_astro/hoisted.CgEGBo3Y.js", "docs/_astro/page.D4xPq1ab.css", "_nuxt/entry.B2xYz_9k.js"),
    *("assets/js/main.d8cb9a63.js", "assets/images/menu-35e13cbe46c9923327f30a76a90bff3b.png"),
    *("assets/javascripts/bundle.ad660dcc.min.js", "assets/stylesheets/main.6543a935.min.css"),
    *("static/js/main.1a2b3c4d.chunk.js", "index.1a2b3c4d.css.map", "chunk-5XQNCPGV.js"),
    *("static/media/d4f0a1b2c3d4e5f60718.woff2", "a/image.0a1b2c3d4e5f.jpg"),
    *("_app/immutable/nodes/0.js", "_next/static/chunks/pages/x.js", "lib-BsAcMfKj.mjs"),
]
# Names that people and other programs give.
PLAIN = [
    *("index.html", "app.js", "a-document.pdf", "annual-overview.html", "my-document.js", "README"),
    *("report-20241130b.pdf", "invoice-a0001234.pdf", "scan.c20241130d.jpg", "case-00012345f.txt"),
    *("report-20241130.pdf", "assets/photo-20241130.jpg", "assets/notes-Sep-2024.png", "1a2b3c4d"),
    *("lib-v1-beta2.js", "assets/photo-iPhone12.jpg", "assets/wallpaper-MacBook1.png"),
    *("assets/guide-Chapter1.pdf", "assets/img-figure1a.png", "assets/chart-Q4Report.svg"),
    *("jquery-3.7.1.min.js", "bootstrap.bundle.min.js", "assets/app-HomePage.js", "x-deadbeef.js"),
    *("a.1a2b3c4d.html", "assets/page-BsAcMfKj.html", "photo-BsAcMfKj.jpg", "v-12345678.js"),
    *("assets/app-JavaDocs.js", "assets/app-analysis.js", "assets/app-COVID19A.js", "20a1b2c3.js"),
    *("_app/version.json", "_next/data.json", "static/_next.js", "_nuxt/builds/latest.json", ""),
    *("sw.js", "manifest.webmanifest", "assets/app-JAVADOCS.js", "assets/data-12345678.json"),
]


def test_names_of_build_tools_have_a_hash():
    assert [path for path in HASHED if not is_fingerprinted(path.encode().split(b"/"))] == []


def test_words_dates_and_versions_are_no_hashes():
    assert [path for path in PLAIN if is_fingerprinted(path.encode().split(b"/"))] == []


def test_the_root_has_none():
    assert not is_fingerprinted(())
