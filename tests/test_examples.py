"""The examples are run as their readers run them."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import aserve
from tests.clients.running import skip_missing

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = Path(sys.executable).parent
WWW = EXAMPLES.parent / "www"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that finds this environment's aserve and abench first."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        check=False,
        cwd=EXAMPLES.parent,
        env=os.environ | {"PATH": path} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_serve_in_asyncio() -> None:
    command = [sys.executable, EXAMPLES / "serve_in_asyncio.py", WWW]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            url = re.search(r"http://\S+", program.stdout.readline())[0]
            with urllib.request.urlopen(url) as page:
                assert page.read() == (WWW / "index.html").read_bytes()
            program.send_signal(signal.SIGTERM)
            assert program.wait() == 0
        finally:
            program.kill()


def test_serve_in_a_thread() -> None:
    completed = run(sys.executable, EXAMPLES / "serve_in_a_thread.py", WWW)
    assert completed.returncode == 0, completed.stdout
    assert f"is 200, {(WWW / 'index.html').stat().st_size} bytes" in completed.stdout


def test_print_changes(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "print_changes.py", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout.readline().startswith("open http://")
            (tmp_path / "new.css").write_text("x")
            assert program.stdout.readline() == "/new.css\n"
        finally:
            program.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tests"), [("test_with_a_server.py", 2), ("test_with_a_handler.py", 1)]
)
def test_tests_with_a_server(name: str, tests: int) -> None:
    options = ("-q", "-p", "no:cacheprovider")
    completed = run(sys.executable, "-m", "pytest", *options, EXAMPLES / name)
    assert completed.returncode == 0, completed.stdout
    assert f"{tests} passed" in completed.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "exit_code"), [("60s", 0), ("1us", 4)])
def test_the_load_gate(limit: str, exit_code: int, tmp_path: Path) -> None:
    report = tmp_path / "load.json"
    # The last response has a second in which to come.
    variables = {"RATE": "1", "DURATION": "3s", "LIMIT": limit}
    completed = run(EXAMPLES / "load_gate.sh", WWW, report, **variables)
    assert completed.returncode == exit_code, completed.stdout
    assert json.loads(report.read_text())["requests"]["succeeded"] == 3


def test_the_workflow_is_one_of_github() -> None:
    """By the schema of workflows that check-jsonschema has."""
    check = PROGRAMS / "check-jsonschema"
    completed = run(
        check, "--builtin-schema", "vendor.github-workflows", EXAMPLES / "load_test.yml"
    )
    assert completed.returncode == 0, completed.stdout


class Job:
    """The job of the workflow, whose steps are run as GitHub's runner does."""

    def __init__(self, directory: Path, **variables: str) -> None:
        workflow = yaml.safe_load((EXAMPLES / "load_test.yml").read_text())
        (job,) = workflow["jobs"].values()
        self.steps = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
        self.directory = directory
        self.summary, self.exported = directory / "summary.md", directory / "env"
        self.variables = job["env"] | {
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_ENV": str(self.exported),
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            **variables,
        }
        for path in (self.summary, self.exported):
            path.write_text("")

    def run(self, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        exported = dict(line.split("=", 1) for line in self.exported.read_text().splitlines())
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", self.steps[name]],
            check=False,
            cwd=self.directory,
            env=os.environ | self.variables | exported | variables,
            capture_output=True,
            text=True,
        )


@pytest.mark.slow
def test_the_workflow_gates(tmp_path: Path) -> None:
    shutil.copytree(WWW, tmp_path / "www")
    job = Job(tmp_path, RATE="20", DURATION="1s", LIMIT="60s", TOLERANCE="1000000")
    try:
        assert job.run("Serve the site").returncode == 0
        for runs in (1, 2):
            loaded = job.run("Load it")
            assert loaded.returncode == 0, loaded.stdout + loaded.stderr
            assert "::notice title=" in loaded.stdout
            assert ("baseline  http" in loaded.stdout) == (runs == 2)
            found = job.run("Look for changes in the history")
            assert found.returncode == 0, found.stdout + found.stderr
            assert f"  {runs} run" in found.stdout
        failed = job.run("Load it", LIMIT="1us")
        assert failed.returncode == 4
        assert "::error title=" in failed.stdout
        assert len((tmp_path / "load" / "history.jsonl").read_text().splitlines()) == 3
        names = {path.name for path in (tmp_path / "results").iterdir()}
        assert names == {"load.json", "load.xml", "load.html", "trend.html"}
        assert job.summary.read_text().count("### abench: ") == 3
    finally:
        stopped = job.run("Stop the server")
    assert stopped.returncode == 0, stopped.stderr


@pytest.mark.slow
def test_versions_are_compared() -> None:
    aserve = PROGRAMS / "aserve"
    variables = {"ROUNDS": "3", "DURATION": "200ms", "TOLERANCE": "10000%"}
    completed = run(EXAMPLES / "compare_versions.sh", aserve, aserve, WWW, **variables)
    assert completed.returncode == 0, completed.stdout
    assert completed.stdout.count("pages/sec") >= 2 * 3


@pytest.mark.slow
def test_a_version_that_does_not_start_is_reported() -> None:
    completed = run(EXAMPLES / "compare_versions.sh", PROGRAMS / "aserve", "false", WWW)
    assert completed.returncode == 1, completed.stdout


@pytest.fixture
def systemd_analyze() -> str:
    """The program, which needs no systemd that runs."""
    program = shutil.which("systemd-analyze")
    return program or skip_missing("systemd-analyze (apt-get install systemd)")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The service and its socket, with the program where this environment has it."""
    copies = []
    for unit in sorted((EXAMPLES / "systemd").iterdir()):
        copies.append(tmp_path / unit.name)
        text = unit.read_text().replace("/opt/aserve/.venv/bin", str(PROGRAMS))
        copies[-1].write_text(text)
    return copies


def test_the_systemd_units(systemd_analyze: str, units: list[Path]) -> None:
    assert [unit.name for unit in units] == ["aserve.service", "aserve.socket"]
    completed = run(systemd_analyze, "verify", "--man=no", *units)
    assert (completed.returncode, completed.stdout) == (0, "")


def test_the_systemd_service_is_confined(systemd_analyze: str, units: list[Path]) -> None:
    """systemd calls an exposure of 2.0 or less OK. The threshold is ten times as high."""
    service = units[0]
    check = (systemd_analyze, "security", "--offline=true", "--no-pager")
    completed = run(*check, "--threshold=20", service)
    assert completed.returncode == 0, completed.stdout
    relaxed = re.sub(
        r"(?m)^(Protect|Private|Restrict|System|Capability).*\n", "", service.read_text()
    )
    service.write_text(relaxed)
    assert run(*check, "--threshold=20", service).returncode != 0


def system_calls(program: str, group: str) -> set[str]:
    """Return the system calls of a group of systemd, such as @file-system."""
    lines = run(program, "syscall-filter", "--no-pager", group).stdout.split("\n")[1:]
    names = {line.strip() for line in lines if line.strip() and "#" not in line}
    inner = [system_calls(program, name) for name in names if name.startswith("@")]
    return names.union(*inner)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_the_systemd_service_may_call_what_it_calls(
    systemd_analyze: str, units: list[Path], tmp_path: Path
) -> None:
    filters = re.findall(r"^SystemCallFilter=(.*)$", units[0].read_text(), re.MULTILINE)
    allowed, denied, again = filters
    permitted = system_calls(systemd_analyze, allowed)
    for group in denied.removeprefix("~").split():
        permitted -= system_calls(systemd_analyze, group)
    permitted.add(again)
    log, path = tmp_path / "calls", tmp_path / "aserve.sock"
    command = ["strace", "-D", "-f", "-o", log, PROGRAMS / "aserve", WWW, f"--host=unix:{path}"]
    with subprocess.Popen([*command, "--workers=2", "--quiet"]) as program:
        try:
            while not path.exists():
                assert program.poll() is None
                time.sleep(0.01)
            for target in ("/", "/", "/?archive=zip", "/nothing"):
                ask(path, target, **{"Accept-Encoding": "zstd, br, gzip"})
        finally:
            program.terminate()
    while not re.search(rf"^{program.pid} +\+\+\+ exited", log.read_text(), re.MULTILINE):
        time.sleep(0.01)
    called = set(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    assert "accept4" in called
    # libuv, which uvloop is made of, does without: it asks whether it may.
    assert called - permitted <= {"io_uring_setup", "io_uring_enter"}


class UnixConnection(http.client.HTTPConnection):
    """A connection to a server that listens on a path."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


@contextmanager
def nginx(configuration: str, directory: Path) -> Iterator[Path]:
    """Run nginx; yield the path that it listens on."""
    path = directory / "nginx.sock"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds) + "access_log off;"
    text = configuration.replace("listen 80;", f"listen unix:{path};")
    (directory / "nginx.conf").write_text(text.replace("http {", f"http {{\n{own}", 1))
    directives = f"daemon off; pid {directory}/pid; error_log {directory}/log;"
    command = ["nginx", "-p", directory, "-c", directory / "nginx.conf", "-g", directives]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as program:
        try:
            while not path.exists():
                assert program.poll() is None, (directory / "log").read_text()
                time.sleep(0.01)
            yield path
        finally:
            program.terminate()


def ask(path: Path, target: str, **headers: str) -> tuple[int, str | None]:
    """Return the status of a response on a connection of its own, and its entity tag."""
    with closing(UnixConnection(path)) as client:
        client.request("GET", target, headers=headers)
        response = client.getresponse()
        response.read()
        return response.status, response.headers["ETag"]


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")
def test_two_nodes_behind_nginx_have_the_same_tags(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "new.pdf").touch()
    configuration = (EXAMPLES / "two_nodes.conf").read_text()
    # As the comment of the example starts them.
    (command,) = re.findall(r"^#   aserve (.*)$", configuration, re.MULTILINE)
    assert "--etag content" in command
    lines: tuple[list[str], list[str]] = ([], [])
    with (
        aserve.Server(folder, etag="content", access_log=lines[0].append) as one,
        aserve.Server(copy, etag="content", access_log=lines[1].append) as other,
    ):
        for address, server in (("10.0.0.11:8000", one), ("10.0.0.12:8000", other)):
            assert configuration.count(address) == 1
            configuration = configuration.replace(address, server.url[len("http://") : -1])
        with nginx(configuration, tmp_path) as path:
            tags = {ask(path, "/new.pdf") for _ in range(4)}
            ((status, tag),) = tags
            assert (status, bool(tag)) == (200, True)
            again = {ask(path, "/new.pdf", **{"If-None-Match": str(tag)}) for _ in range(4)}
    assert again == {(304, tag)}
    assert all(lines)  # nginx has asked both


def documents(name: str) -> dict[str, Any]:
    """Return the documents of a manifest by their kinds."""
    return {each["kind"]: each for each in yaml.safe_load_all((EXAMPLES / name).read_text())}


def test_the_manifest_of_kubernetes_fits_together() -> None:
    kinds = documents("kubernetes.yaml")
    spec = kinds["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    pod, (container,) = spec["template"]["spec"], spec["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    selectors = [kinds[kind]["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget")]
    assert all(each["matchLabels"] == labels for each in selectors)
    assert kinds["Service"]["spec"]["selector"] == labels
    assert kinds["Service"]["spec"]["ports"][0]["targetPort"] in ports
    assert f"--port={ports['http']}" in container["args"]
    probes = [container[name]["httpGet"] for name in ("readinessProbe", "livenessProbe")]
    assert {probe["port"] for probe in probes} == {"http"}
    pause = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = aserve.Settings.__dataclass_fields__["grace"].default
    assert pod["terminationGracePeriodSeconds"] > pause + grace


def test_the_command_of_kubernetes_answers_its_probes() -> None:
    spec = documents("kubernetes.yaml")["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    own = {"aserve": str(PROGRAMS / "aserve"), "/srv/www": str(WWW)}
    own |= {"--port=8000": "--port=0", "--host=0.0.0.0": "--host=127.0.0.1"}
    command = [own.pop(word, word) for word in container["args"]]
    assert not own
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as program:
        try:
            url = next(re.search(r"http://\S+", line) for line in program.stderr if "open" in line)
            for name in ("readinessProbe", "livenessProbe"):
                with urllib.request.urlopen(
                    url[0] + container[name]["httpGet"]["path"][1:]
                ) as page:
                    assert page.status == 200
            program.terminate()
            program.stderr.read()
            assert program.wait() == 0
        finally:
            program.kill()


FLEET = "kubernetes/abench.yaml"


@pytest.mark.parametrize("manifest", ["kubernetes.yaml", FLEET])
def test_kubernetes_would_accept_the_manifests(manifest: str) -> None:
    """By its own schemas, and with no key that they do not have."""
    import kubernetes_validate  # noqa: PLC0415 - takes half a second

    for each in yaml.safe_load_all((EXAMPLES / manifest).read_text()):
        kubernetes_validate.validate(each, "1.29", strict=True)


def fleet_pods() -> dict[str, Any]:
    """Return the pods of the fleet by their roles."""
    manifests = yaml.safe_load_all((EXAMPLES / FLEET).read_text())
    templates = [each["spec"]["template"] for each in manifests if "template" in each["spec"]]
    return {one["metadata"]["labels"]["role"]: one["spec"] for one in templates}


def test_the_pods_of_the_fleet_are_confined_and_have_what_they_ask_for() -> None:
    for pod in fleet_pods().values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            # The class Guaranteed: requests equal to limits, of both, in every container.
            resources = container["resources"]
            assert resources["requests"] == resources["limits"]
            assert set(resources["limits"]) == {"cpu", "memory"}
            assert int(resources["limits"]["cpu"]) >= 1  # whole ones can be exclusive


def test_the_manifest_of_the_fleet_fits_together() -> None:
    pods = fleet_pods()
    manifests = list(yaml.safe_load_all((EXAMPLES / FLEET).read_text()))
    service = next(each for each in manifests if each["kind"] == "Service")
    nodes = next(each["spec"] for each in manifests if each["metadata"]["name"] == "abench-node")
    policy = next(each["spec"] for each in manifests if each["kind"] == "NetworkPolicy")
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    (scheduler,), (node,) = pods["scheduler"]["containers"], pods["node"]["containers"]
    (abench,), (waiting,) = pods["coordinator"]["containers"], pods["coordinator"]["initContainers"]
    port = {each["name"]: each["containerPort"] for each in scheduler["ports"]}["dask"]
    assert f"--port={port}" in scheduler["args"]
    assert service["spec"]["ports"][0]["targetPort"] == "dask"
    assert service["spec"]["selector"] == {"app": "abench", "role": "scheduler"}
    assert f"tcp://{address}" in node["args"]
    assert f"--dask={address}" in abench["args"]
    assert f"--workers={nodes['replicas']}" in abench["args"]
    assert f'"tcp://{address}"' in waiting["args"][-1]
    assert f"wait_for_workers({nodes['replicas']}," in waiting["args"][-1]
    # Only they reach each other, and no two nodes are on one machine.
    own = {"matchLabels": {"app": "abench"}}
    assert policy["podSelector"] == own
    assert policy["ingress"] == [{"from": [{"podSelector": own}]}]
    apart = pods["node"]["affinity"]["podAntiAffinity"]
    first = apart["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert first["labelSelector"] == nodes["selector"]
    assert first["topologyKey"] == "kubernetes.io/hostname"


@pytest.mark.slow
def test_the_programs_of_the_fleet_take_their_arguments() -> None:
    from distributed.cli import dask_scheduler, dask_worker  # noqa: PLC0415 - takes a second

    pods = fleet_pods()
    for role, program in (("scheduler", dask_scheduler.main), ("node", dask_worker.main)):
        program.make_context(role, pods[role]["containers"][0]["args"][2:])
    command, scheduler, *arguments = pods["coordinator"]["containers"][0]["args"]
    assert (command, scheduler) == ("abench", "--dask=abench-scheduler:8786")
    ran = subprocess.run(
        [PROGRAMS / command, "--dask=none", *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    # Nothing is wrong but the name that was put there.
    assert ran.stderr == "abench: error: --dask: 'none' is not like host:port\n"


def test_every_example_is_in_the_list() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert set(re.findall(r"\]\(([\w.]+)\)", (EXAMPLES / "README.md").read_text())) == names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "folder"
    directory.mkdir()
    for number, name in enumerate(("old.pdf", "b c.txt", "new.pdf")):
        (directory / name).write_bytes(b"x" * 1_000 * number)
        os.utime(directory / name, (number * 86_400, number * 86_400))
    return directory


def test_a_listing_is_read_page_by_page(folder: Path) -> None:
    with aserve.Server(folder, page_size=2) as server:
        command = (sys.executable, EXAMPLES / "read_a_listing.py", server.url)
        everything, matching = run(*command), run(*command, "*.pdf")
    assert everything.stdout.splitlines() == [
        f"1970-01-03           2,000  {server.url}new.pdf",
        f"1970-01-02           1,000  {server.url}b%20c.txt",
        f"1970-01-01               0  {server.url}old.pdf",
    ]
    assert [line.split()[0] for line in matching.stdout.splitlines()] == [
        "1970-01-03",
        "1970-01-01",
    ]


@pytest.mark.slow
def test_a_download_of_a_folder_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    def download(url: str) -> bytes:
        completed = run(EXAMPLES / "download_a_folder.sh", url, tmp_path / "folder.zip")
        assert completed.returncode == 0, completed.stdout
        return (tmp_path / "folder.zip").read_bytes()

    lines: list[str] = []
    with aserve.Server(folder, access_log=lines.append) as server:
        whole = download(server.url)
        part, etag = tmp_path / "folder.zip.part", tmp_path / "folder.zip.etag"
        assert not part.exists()
        assert not etag.exists()
        with urllib.request.urlopen(server.url + "?archive=zip") as response:
            etag.write_text(response.headers["ETag"])
        part.write_bytes(whole[:100])
        assert download(server.url) == whole
        part.write_bytes(b"of another state of the folder")
        etag.write_text('"another"')
        assert download(server.url) == whole
    assert sum('" 206 ' in line for line in lines) == 1


@pytest.mark.slow
def test_a_single_page_app(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<script src=/assets/app.js></script>")
    completed = run(sys.executable, EXAMPLES / "single_page_app.py", tmp_path)
    assert (completed.returncode, completed.stdout) == (0, "a route: 200, a missing script: 404\n")
    (tmp_path / "index.html").unlink()
    assert run(sys.executable, EXAMPLES / "single_page_app.py", tmp_path).returncode == 1


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")
def test_nginx_in_front_of_a_unix_socket(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "unix-sockets-and-systemd.md").read_text()
    (upstream,) = re.findall(r"^```nginx\n(.*)\n```$", page, re.MULTILINE)
    path = tmp_path / "aserve.sock"
    user = "user root root;" if os.geteuid() == 0 else ""  # the directory is nobody else's
    configuration = f"""
{user}
events {{}}
http {{
    {upstream.replace("/run/aserve.sock", str(path))}
    server {{
        listen 80;
        location / {{
            proxy_pass http://aserve;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""
    lines: list[str] = []
    with (
        aserve.Server(WWW, host=f"unix:{path}", access_log=lines.append),
        nginx(configuration, tmp_path) as front,
    ):
        assert [ask(front, "/")[0] for _ in range(3)] == [200] * 3
    assert [line.split()[0] for line in lines] == ["-"] * 3
