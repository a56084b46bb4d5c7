"""compose.yaml in a real engine, with small numbers: it must measure the image that ships."""

import json
import os
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),  # the first build downloads every package
]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def engine() -> None:
    """Skip where there is no engine; on CI, where it must run, fail."""
    try:
        missing = run("docker", "compose", "version").returncode or run("docker", "info").returncode
    except FileNotFoundError:
        missing = True
    if missing:
        skip = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        skip("needs a running Docker engine with Compose v2")


class Project:
    """A compose project with a unique name and small numbers."""

    def __init__(self, directory: Path) -> None:
        self.name = f"aserve-test-{secrets.token_hex(4)}"
        self.results = directory / "results"  # missing: the engine creates it, as root
        self.files = ["-f", "compose.yaml"]
        self.variables = {
            "BENCH_CONNECTIONS": "20",
            "BENCH_SECONDS": "1",
            "BENCH_RESULTS": str(self.results),
        }

    def compose(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "compose", "-p", self.name, *self.files, *arguments]
        return run(*command, **self.variables | environment)

    def bench(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.compose("up", "--exit-code-from", "bench", "bench", **environment)

    def state(self, service: str) -> dict:
        return json.loads(run("docker", "inspect", f"{self.name}-{service}-1").stdout)[0]


@pytest.fixture
def project(engine: None, tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    try:
        yield project
    finally:
        down = project.compose("down", "--timeout", "5", "--volumes", "--remove-orphans")
    assert down.returncode == 0, down.stdout


def test_bench_prints_its_report_and_saves_the_result(project: Project) -> None:
    bench = project.bench()
    assert bench.returncode == 0, bench.stdout
    assert "pages/sec" in bench.stdout
    result = json.loads((project.results / "bench.json").read_text())
    assert result["schema"] == 2
    assert result["connections"] == 20
    assert result["requests"]["succeeded"] > 0
    assert result["requests"]["failed"] == 0


def test_the_exit_code_for_a_server_that_cannot_be_reached(project: Project) -> None:
    bench = project.bench(BENCH_URL="http://server:9/")
    assert bench.returncode == 1, bench.stdout


def test_bench_waits_for_the_health_check(project: Project, tmp_path: Path) -> None:
    failing_check = {
        "test": ["CMD", "false"],
        "interval": "100ms",
        "retries": 1,
        "start_period": "1ms",
    }  # "0" would mean the value of the image
    override = tmp_path / "unhealthy.json"  # JSON is YAML
    override.write_text(json.dumps({"services": {"server": {"healthcheck": failing_check}}}))
    project.files += ["-f", str(override)]
    bench = project.bench()
    assert bench.returncode != 0
    assert "is unhealthy" in bench.stdout
    assert project.state("bench")["State"]["Status"] == "created"


def test_the_server_is_confined_and_stops_on_a_signal(project: Project) -> None:
    up = project.compose("up", "--detach", "--wait", "server")
    assert up.returncode == 0, up.stdout
    server = project.state("server")
    assert server["HostConfig"]["CapDrop"] == ["ALL"]
    assert server["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    assert project.compose("exec", "-T", "server", "id", "-u").stdout.strip() == "10001"
    for directory in "/", "/srv/www", "/opt/venv", "/tmp":
        touched = project.compose("exec", "-T", "server", "touch", f"{directory}/mark")
        assert "Read-only file system" in touched.stdout
    assert project.compose("stop", "--timeout", "20", "server").returncode == 0
    assert project.state("server")["State"]["ExitCode"] == 0  # 137: killed; 143: no handler


def test_the_example_serves_a_directory(project: Project, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<h1>mine</h1>")
    project.files = ["-f", "examples/compose.yaml"]
    project.variables |= {"SITE": str(site), "PORT": "0"}
    up = project.compose("up", "--detach", "--build", "--wait", "site")
    assert up.returncode == 0, up.stdout
    address = project.compose("port", "site", "8000").stdout.strip()
    with urllib.request.urlopen(f"http://{address}/") as page:
        assert page.read() == b"<h1>mine</h1>"
    touched = project.compose("exec", "-T", "site", "touch", "/srv/www/mark")
    assert "Read-only file system" in touched.stdout


def test_a_fleet_loads_from_two_nodes(project: Project) -> None:
    arguments = ("up", "--timeout", "1", "--exit-code-from", "bench-fleet", "bench-fleet")
    try:
        bench = project.compose("--profile", "fleet", *arguments)
        assert bench.returncode == 0, bench.stdout
    finally:
        project.compose("--profile", "fleet", "down", "--timeout", "1")
    result = json.loads((project.results / "bench-fleet.json").read_text())
    assert result["workers"] == 2
    assert result["workers_lost"] == 0
    assert result["requests"]["succeeded"] > 0
