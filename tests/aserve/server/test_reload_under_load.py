"""Under full load no request is lost, cut or stale, whatever is reloaded, upgraded or killed."""

import pytest
import uvloop

from benchmarks.reload_under_load import Aserve, run_load, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("options", "seconds"), [(("--workers=2",), 20), ((), 10)])
def test_nothing_is_lost(options: tuple[str, ...], seconds: int) -> None:
    with site() as directory:
        server = Aserve(directory, *options)
        try:
            counts = uvloop.run(run_load(server, seconds, kills=3 if options else 0))
        finally:
            code, errors = server.stop()
    lost = counts.failed, counts.cut, counts.stale
    assert lost == (0, 0, 0), f"{counts.report()}\n{counts.reasons[:10]}\n{errors}"
    assert (counts.reloads, counts.moves, counts.upgrades) == (20, 3, 3)
    assert counts.downloads
    assert code == 0, errors
