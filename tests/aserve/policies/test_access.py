"""Who gets which view of a site: asked in this process, method by method and handler by handler."""

import base64
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import pytest

import aserve
from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import Note, RequestContext
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.policies.access import AccessRouter
from aserve.policies.login_sink import LoginSink
from aserve.policies.site import Site
from aserve.server.site_factory import build_site
from tests.aserve.access.test_passwords import BCRYPT
from tests.aserve.handlers.listing_site import part_bytes

AUTH = ("ann:a", "ben:b", "carl:c")
SECRET = b"SECRET"
CLIENT, OTHER = "192.0.2.1", "192.0.2.2"
CHALLENGE = 'Basic realm="aserve", charset="UTF-8"'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    for name, content in {
        "open.txt": b"open",
        "404.html": b"nothing",
        "private/index.html": SECRET,
        "private/404.html": SECRET,
        "private/a.txt": SECRET,
        "private/sub/b.txt": SECRET,
        "page.html": SECRET,
        "page.html.gz": SECRET,
        "in/x.txt": b"in",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "link.txt").symlink_to("private/a.txt")
    return folder


def site_of(root: object, **settings: object) -> Site:
    return build_site(Settings(root, **settings), Mounts())  # type: ignore[arg-type]


def login(pair: str) -> Mapping[str, str]:
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def ask(
    site: Site,
    target: str,
    pair: str = "",
    method: str = "GET",
    *,
    client: str = CLIENT,
    now: int = 0,
    may_wait: bool = True,
    **headers: str,
) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= login(pair) if pair else {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n"
    request = Request(method, target, headers=named, head=head)
    return site.handle(request, RequestContext(now, may_wait, client))


def body_of(response: Response) -> bytes:
    return b"".join(map(part_bytes, response.body))


def status(*arguments: object, **options: object) -> int:
    return ask(*arguments, **options).status  # type: ignore[arg-type]


GUARDED = {"auth": AUTH, "dav": True, "allow_trace": True, "write": ("/",)}


@pytest.mark.parametrize(
    "method",
    [
        *("GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "PUT", "POST", "DELETE", "MKCOL", "MOVE"),
        *("PATCH", "COPY", "LOCK", "BREW"),
    ],
)
def test_every_method_and_every_path_needs_the_login(root: Path, method: str) -> None:
    """Whether there is anything, and whether the method is one, is not told."""
    site = site_of(root, **GUARDED)
    for target in ("/", "/open.txt", "/nothing", "/private", "//x", "/.env"):
        response = ask(site, target, method=method)
        assert response.status == 401
        assert ("WWW-Authenticate", CHALLENGE) in response.headers
        assert not response.path  # so that it is not cached
        assert body_of(response) == body_of(ask(site, "/open.txt", method=method))


@pytest.mark.parametrize("pair", ["ann:b", "ann:", "dora:a", ":a", "ann", "ann:a:a", "Ann:a"])
def test_a_wrong_user_and_a_wrong_password_are_told_alike(root: Path, pair: str) -> None:
    wrong = ask(site_of(root, auth=AUTH), "/open.txt", pair)
    assert wrong.status == 401
    assert wrong.headers == ask(site_of(root, auth=AUTH), "/open.txt", "ann:x").headers
    assert body_of(wrong) == body_of(ask(site_of(root, auth=AUTH), "/open.txt", "ann:x"))


def test_a_user_gets_what_everyone_gets_where_there_is_no_login(root: Path) -> None:
    site, free = site_of(root, **GUARDED), site_of(root, **{**GUARDED, "auth": ()})
    for target in ("/", "/open.txt", "/nothing", "/private/", "/?archive=zip&name=open.txt"):
        assert body_of(ask(site, target, "ann:a")) == body_of(ask(free, target))
        assert ask(site, target, "ann:a").headers == ask(free, target).headers


def test_a_preflight_is_answered_without_a_login_and_tells_nothing_of_files(root: Path) -> None:
    site = site_of(root, **GUARDED, cors=("http://a.test",))
    asked = {"origin": "http://a.test", "access_control_request_method": "PUT"}
    answers = [ask(site, target, "", "OPTIONS", **asked) for target in ("/open.txt", "/nothing")]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].headers == answers[1].headers
    methods = dict(answers[0].headers)["Access-Control-Allow-Methods"]
    assert {"GET", "PUT", "DELETE"} <= set(methods.split(", "))
    assert status(site, "/open.txt", "", "OPTIONS", origin="http://a.test") == 401


def test_a_page_of_another_site_learns_that_a_login_is_needed(root: Path) -> None:
    site = site_of(root, auth=AUTH, cors=("*",))
    headers = dict(ask(site, "/open.txt", origin="http://a.test").headers)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "WWW-Authenticate" in headers


RULES = (aserve.PathSettings("/private/*", readers=("ann",)),)


@pytest.mark.parametrize(
    ("pair", "expected"), [("", 401), ("ann:a", 200), ("ben:b", 403), ("carl:c", 403)]
)
@pytest.mark.parametrize("target", ["/private/a.txt", "/private/", "/private/sub/b.txt"])
def test_a_rule_is_for_those_whom_it_names(
    root: Path, pair: str, expected: int, target: str
) -> None:
    site = site_of(root, auth=AUTH, readers=("anyone",), paths=RULES)
    assert status(site, target, pair) == expected
    assert status(site, "/open.txt", pair) == 200


def test_no_answer_tells_whether_there_is_something_in_a_closed_place(root: Path) -> None:
    site = site_of(root, auth=AUTH, readers=("anyone",), paths=RULES)
    for pair in ("", "ben:b"):
        answers = [
            ask(site, target, pair)
            for target in ("/private/a.txt", "/private/no", "/private", "/private/sub", "/private/")
        ]
        assert len({(each.status, each.headers, body_of(each)) for each in answers}) == 1


SECRET_DOORS = [
    *("/?format=json&deep=1", "/?q=a.txt&deep=1", "/?archive=zip", "/?archive=tar&name=private"),
    *("/link.txt", "/private/nothing", "/rewritten", "/page", "/page.html", "/page.html.gz"),
    *("/?format=html", "/spa/any", "/Private/a.txt", "/PAGE.html", "/x/../private/a.txt"),
    *("/private%2Fa.txt", "/./private/a.txt", "/private//a.txt", "/index.html", "/%70rivate/a.txt"),
]


@pytest.mark.parametrize("decodes", [False, True])
@pytest.mark.parametrize("pair", ["", "ben:b"])
def test_no_door_shows_what_a_rule_closes(root: Path, pair: str, *, decodes: bool) -> None:
    """Neither a link, nor a clean URL, a rewrite, an error page, an app's page, a sibling."""
    site = site_of(
        root,
        auth=AUTH,
        readers=("anyone",),
        paths=(*RULES, aserve.PathSettings("/page.html", readers=("ann",))),
        redirects=("/rewritten /private/a.txt 200",),
        urls="netlify",
        listing="on",
        spa="page.html",
        error_page=("404=private/404.html", "401=private/404.html", "403=page.html"),
        decode_slashes=decodes,
    )
    forms = ({}, {"accept_encoding": "gzip"}, {"sec_fetch_mode": "navigate"})
    for target, headers in product(SECRET_DOORS, forms):
        response = ask(site, target, pair, **headers)
        assert SECRET not in body_of(response)
        assert b"b.txt" not in body_of(response)


@pytest.mark.parametrize("groups", [("staff=ann,ben", "all=carl"), {"staff": ("ann", "ben")}])
def test_a_group_stands_for_its_users(root: Path, groups: object) -> None:
    """Beside single users, also in the rules of paths."""
    paths = (
        aserve.PathSettings("/private/sub/*", readers=("@staff", "carl")),
        aserve.PathSettings("/private/*", readers=("@staff",)),
    )
    site = site_of(root, auth=AUTH, readers=("anyone",), groups=groups, paths=paths)
    for pair, (outer, inner) in {
        "": (401, 401),
        "ann:a": (200, 200),
        "ben:b": (200, 200),
        "carl:c": (403, 200),
        "@staff:a": (401, 401),
    }.items():
        assert status(site, "/private/a.txt", pair) == outer
        assert status(site, "/private/sub/b.txt", pair) == inner


def test_other_users_are_in_no_group_of_the_server(root: Path) -> None:
    """A site with users of its own may name groups of its own."""
    for own, readers in (({}, ("zoe",)), ({"groups": ("staff=zoe",)}, ("@staff",))):
        other = aserve.VirtualHost("b.test", root, auth=("zoe:z",), readers=readers, **own)
        same = aserve.VirtualHost("c.test", root, readers=("@staff",))
        groups = ("staff=ann",)
        site = site_of(root, auth=AUTH, readers=("@staff",), groups=groups, sites=(other, same))
        for host, pair, expected in (
            *(("a.test", "ann:a", 200), ("a.test", "ben:b", 403), ("b.test", "zoe:z", 200)),
            *(("b.test", "ann:a", 401), ("c.test", "ann:a", 200), ("c.test", "ben:b", 403)),
        ):
            assert status(site, "/open.txt", pair, host=host) == expected


@pytest.mark.parametrize("method", ["GET", "PROPFIND"])
def test_a_listing_has_what_its_reader_may_read(root: Path, method: str) -> None:
    site = site_of(root, auth=AUTH, readers=("anyone",), paths=RULES, dav=True)
    for pair, is_shown in (("", False), ("ben:b", False), ("ann:a", True)):
        response = ask(site, "/?format=json", pair, method, depth="1")
        assert (b"private" in body_of(response)) == is_shown


def test_the_first_path_with_access_decides_whatever_others_say_before(root: Path) -> None:
    """A path for headers alone opens nothing."""
    paths = (aserve.PathSettings("*.txt", cache="no-store"), *RULES)
    site = site_of(root, auth=AUTH, readers=("anyone",), paths=paths)
    assert status(site, "/private/a.txt") == 401
    assert dict(ask(site, "/open.txt").headers)["Cache-Control"] == "no-store"


def test_what_a_rule_does_not_name_nobody_may(root: Path) -> None:
    paths = (
        aserve.PathSettings("/in/*", writers=("ben",)),
        aserve.PathSettings("/private/*", readers=("ann",)),
    )
    site = site_of(root, auth=AUTH, write=("/",), paths=paths)
    assert [status(site, "/in/x.txt", pair) for pair in ("", "ann:a", "ben:b")] == [403, 403, 403]
    assert status(site, "/private/a.txt", "ann:a", "DELETE") == 403
    assert status(site, "/open.txt", "carl:c", "DELETE") == 204


def test_nobody_is_asked_for_a_login_that_would_not_help(root: Path) -> None:
    site = site_of(root, auth=AUTH, paths=(aserve.PathSettings("/private/*", readers=("nobody",)),))
    assert status(site, "/private/a.txt") == 403
    assert status(site_of(root, paths=site_paths()), "/private/a.txt") == 403


def site_paths() -> tuple[aserve.PathSettings, ...]:
    return (aserve.PathSettings("/private/*", readers=("nobody",), writers=("nobody",)),)


def test_rules_without_any_user_are_keyed_on_nothing(root: Path) -> None:
    site = site_of(root, paths=site_paths())
    assert isinstance(site, AccessRouter)
    assert not site.keyed_on.headers
    assert not site.keyed_on.sees_connection
    assert site.is_barred is None


def test_what_may_be_written_but_not_read_can_only_be_added_to(root: Path) -> None:
    """A mailbox: nothing in it is replaced, deleted, or moved to where it could be read."""
    paths = (aserve.PathSettings("/in/*", readers=("ann",), writers=("anyone",)),)
    site = site_of(root, auth=AUTH, readers=("anyone",), write=("/",), paths=paths)
    assert status(site, "/in/x.txt", "", "DELETE") == 405
    assert status(site, "/in/x.txt", "", "MOVE", destination="/in/y.txt") == 405
    assert status(site, "/in/x.txt") == 401
    assert put(site, "/in/x.txt") == 405
    assert put(site, "/in/new.txt") == 201
    assert status(site, "/in/x.txt", "ann:a", "DELETE") == 204


def test_nothing_is_moved_out_of_or_into_what_is_closed(root: Path) -> None:
    rule = aserve.PathSettings("/private/*", readers=("ann",), writers=("ann",))
    site = site_of(root, auth=AUTH, write=("/",), paths=(rule,))
    move = {"method": "MOVE"}
    assert status(site, "/open.txt", "ben:b", destination="/private/new.txt", **move) in {403, 404}
    assert status(site, "/private/a.txt", "ben:b", destination="/new.txt", **move) == 403
    assert status(site, "/private", "ben:b", "DELETE") == 403
    assert (root / "private" / "a.txt").exists()
    assert not (root / "private" / "new.txt").exists()
    assert status(site, "/private/a.txt", "ann:a", destination="/new.txt", **move) == 201


@pytest.mark.parametrize("decodes", [False, True])
def test_no_spelling_of_a_destination_leads_into_what_is_closed(
    root: Path, *, decodes: bool
) -> None:
    """Nor replaces what is there, as a file, in another case, or as a compressed copy."""
    rule = aserve.PathSettings("/private/*", readers=("ann",), writers=("ann",))
    page = aserve.PathSettings("/page.html", readers=("ann",), writers=("ann",))
    more = {"write": ("/",), "dav": True, "decode_slashes": decodes}
    site = site_of(root, auth=AUTH, paths=(rule, page), **more)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for place in (
        *("/private/new.txt", "/private/a.txt", "/private/", "/private", "/private%2Fnew.txt"),
        *("/%70rivate/new.txt", "/./private/new.txt", "/in/../private/new.txt", "//private/x"),
        *("/private//new.txt", "/page.html", "/page.html.br", "/PAGE.html", "/private/sub"),
    ):
        for target in (place, f"http://x{place}"):
            headers = {"destination": target, "overwrite": "T", "host": "x"}
            for method in ("MOVE", "COPY"):
                assert status(site, "/open.txt", "ben:b", method, **headers) >= 400
        assert put(site, place, "ben:b") >= 400
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert after == before
    allowed = {"destination": "http://x/in/moved.txt", "host": "x"}
    assert status(site, "/open.txt", "ben:b", "MOVE", **allowed) == 201


def test_a_folder_with_something_closed_in_it_is_neither_deleted_nor_moved(root: Path) -> None:
    rule = aserve.PathSettings("/private/sub/*", readers=("ann",), writers=("anyone",))
    site = site_of(root, auth=AUTH, write=("/",), paths=(rule,))
    assert status(site, "/private", "ben:b", "DELETE") in {403, 404, 409}
    assert status(site, "/private", "ben:b", "MOVE", destination="/new") in {403, 404, 409}
    assert (root / "private/sub/b.txt").exists()


def sink_of(site: Site, target: str, pair: str = "", method: str = "PUT", **headers: str):
    named = {"content-length": "3", **headers, **(login(pair) if pair else {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n"
    request = Request(method, target, headers=named, head=head)
    assert site.accept_body
    return site.accept_body(request, RequestContext(0, True, CLIENT))


def put(site: Site, target: str, pair: str = "", method: str = "PUT", **headers: str) -> int:
    """Return the status of a request with a body."""
    sink: BodySink | None = None
    try:
        sink = sink_of(site, target, pair, method, **headers)
        if sink is None:
            return status(site, target, pair, method)
        sink.begin()
        sink.write(b"abc")
        return sink.respond().status
    except HttpError as error:
        return error.status
    finally:
        if sink:
            sink.close()


def test_no_body_is_taken_before_the_login_is_checked(root: Path) -> None:
    site = site_of(root, auth=AUTH, write=("/",))
    for pair in ("", "ann:wrong"):
        with pytest.raises(HttpError) as raised:
            sink_of(site, "/new.txt", pair)
        assert raised.value.status == 401
    assert put(site, "/new.txt", "ann:a") == 201


def test_a_slow_login_is_checked_by_the_sink_before_its_body(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(f"ann:{BCRYPT}\n")
    site = site_of(root, htpasswd=str(file), write=("/",), max_upload=4)
    sink = sink_of(site, "/new.txt", "ann:wrong")
    assert isinstance(sink, LoginSink)
    assert sink.may_wait
    with pytest.raises(HttpError) as raised:
        sink.begin()
    assert raised.value.status == 401
    assert not (root / "new.txt").exists()
    site = site_of(root, htpasswd=str(file), write=("/",), max_upload=4)
    large = sink_of(site, "/new.txt", "ann:secret", **{"content-length": "5"})
    with pytest.raises(HttpError) as raised:
        large.begin()
    assert raised.value.status == 413
    assert put(site, "/new.txt", "ann:secret") == 201
    assert not isinstance(sink_of(site, "/more.txt", "ann:secret"), LoginSink)
    site = site_of(root, htpasswd=str(file), write=("/in",))
    assert put(site, "/open.txt", "ann:secret") == 405
    assert sink_of(site, "/open.txt", "ann:secret", "GET") is None


def test_a_slow_login_is_left_to_a_thread(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(f"ann:{BCRYPT}\n")
    site = site_of(root, htpasswd=str(file))
    with pytest.raises(BlockingIOError):
        ask(site, "/open.txt", "ann:secret", may_wait=False)
    assert status(site, "/open.txt", "ann:secret") == 200
    assert site.keyed_on.headers == {"authorization"}


def test_the_eleventh_wrong_login_is_answered_429_and_so_is_the_right_one_then(root: Path) -> None:
    site = site_of(root, auth=AUTH)
    for number in range(10):
        assert status(site, "/open.txt", f"ann:{number}", now=100) == 401
    for pair in ("ann:more", "ann:a"):
        response = ask(site, "/open.txt", pair, now=101)
        assert response.status == 429
        assert ("Retry-After", "599") in response.headers
        assert response.close
    assert status(site, "/open.txt", now=101) == 401  # without a login nobody guesses
    assert status(site, "/open.txt", "ann:a", client=OTHER, now=101) == 200
    assert status(site, "/open.txt", "ann:a", now=700) == 200


def test_all_sites_of_a_server_count_together(root: Path) -> None:
    sites = (aserve.VirtualHost("a.test", root), aserve.VirtualHost("b.test", root))
    site = site_of({}, sites=sites, auth=AUTH)
    for number in range(10):
        assert status(site, "/open.txt", f"ann:{number}", host="a.test") == 401
    assert status(site, "/open.txt", "ann:a", host="b.test") == 429


def test_each_site_has_its_own_users(root: Path) -> None:
    sites = (
        aserve.VirtualHost("a.test", root, auth=("dora:d",)),
        aserve.VirtualHost("b.test", root),
    )
    site = site_of(root, sites=sites, auth=AUTH)
    assert status(site, "/open.txt", "dora:d", host="a.test") == 200
    assert status(site, "/open.txt", "ann:a", host="a.test", client=OTHER) == 401
    assert status(site, "/open.txt", "ann:a", host="b.test", client=OTHER) == 200
    assert status(site, "/open.txt", "ann:a", host="other", client=OTHER) == 200


def test_what_is_served_beside_the_root_is_closed_by_its_path(root: Path) -> None:
    """What it hides stays hidden: /private of the disk is not shown in its place."""
    site = site_of(
        {"": root, "private": root / "in", "docs/one.txt": root / "open.txt", "free": root / "in"},
        auth=AUTH,
        readers=("anyone",),
        paths=(*RULES, aserve.PathSettings("/docs/*", readers=("ann",))),
    )
    assert status(site, "/private/x.txt", "ann:a") == 200
    for target in ("/private/x.txt", "/private/a.txt", "/docs/one.txt"):
        assert status(site, target) == 401
    listed = body_of(ask(site, "/?format=json&deep=1"))
    assert b'"free"' in listed
    assert b'"docs' not in listed
    assert b'"private' not in listed
    assert b'"private/x.txt"' in body_of(ask(site, "/?format=json&deep=1", "ann:a"))


def test_a_handler_of_a_program_is_behind_the_login(root: Path) -> None:
    class Now:
        def handle(self, request: Request, context: RequestContext) -> Response:
            return Response(200, (), (SECRET,), len(SECRET))

    site = site_of(root, auth=AUTH, handlers={"/now": Now()}, writers=("ann",))
    assert [status(site, "/now", pair) for pair in ("", "ben:b")] == [401, 200]
    preflight = ask(site, "/now", "", "OPTIONS", access_control_request_method="GET")
    assert SECRET not in body_of(preflight)
    assert [status(site, "/now", pair, "POST") for pair in ("", "ben:b", "ann:a")] == [
        401,
        403,
        200,
    ]


def test_uploads_in_parts_belong_to_writing(root: Path) -> None:
    paths = (aserve.PathSettings("/in/*", readers=("ann",), writers=("ben",)),)
    site = site_of(root, auth=AUTH, write=("/",), paths=paths)
    target = "/in/.aserve/tus/token"
    assert status(site, target, "ann:a", "HEAD", tus_resumable="1.0.0") == 403
    assert status(site, target, "ben:b", "HEAD", tus_resumable="1.0.0") == 404


UPLOADS = ("?/.aserve/tus/", "/.aserve/tus/x", "/%2Easerve/tus/x", "/.aserve/tus/../../x")


@pytest.mark.parametrize("tail", UPLOADS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PROPFIND", "TRACE"])
def test_who_may_write_reads_nothing_by_the_name_of_an_upload(
    root: Path, method: str, tail: str
) -> None:
    """Neither a file nor the answer of a program, where only others may read."""
    asked = []

    class Own:
        def handle(self, request: Request, context: RequestContext) -> Response:
            asked.append(request.target)
            return Response(200, (), (SECRET,), len(SECRET))

    paths = (aserve.PathSettings("/in/*", readers=("ann",), writers=("anyone",)),)
    more = {"handlers": {"/in/own*": Own()}, "write": ("/",), "dav": True, "allow_trace": True}
    site = site_of(root, auth=AUTH, paths=paths, **more)
    for target in ("/in/own", "/in/x.txt"):
        for pair in ("", "ben:b"):
            response = ask(site, target + tail, pair, method, depth="0")
            assert response.status in {401, 403, 404, 405, 412} or method == "OPTIONS"
            assert SECRET not in body_of(response)
    assert asked == []
    assert status(site, "/in/own", "ann:a") == 200


def test_an_invalid_request_is_answered_without_a_look_at_its_login(root: Path) -> None:
    request = Request("GET", "/", headers=login("ann:x"), error=HttpError(400, "Malformed."))
    for _ in range(20):
        response = site_of(root, auth=AUTH).handle(request, RequestContext(0, True, CLIENT))
        assert response.status == 400


def test_what_decided_is_told(root: Path) -> None:
    notes: list[Note] = []
    site = site_of(root, auth=AUTH)
    site.handle(Request("GET", "/open.txt"), RequestContext(0, notes=notes))
    assert Note("access", "without a login one may not read this", "default") in notes
