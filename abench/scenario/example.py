"""A scenario to begin with: `abench run THIS_FILE --once -v`, then `-c 50 -t 60`.

Each async function without an underscore before its name is a path, which users take again and
again. The connection and the cookies of a user stay.
"""

from abench import User, check, weight

URL = "http://localhost:8000/"  # of the server; one on the command line comes before it


@weight(3)
async def visit(user: User) -> None:
    """Most users look at the first page, and at another one."""
    response = await user.get("/")
    check("the first page is there", response.status == 200)
    check("it is a page", response.headers["Content-Type"] is not None)
    await user.think(1, 3)  # seconds, which no figure counts
    await user.get("/about", name="another page", expect="2xx,404")


async def search(user: User) -> None:
    """One in four searches."""
    word = user.random.choice(["books", "maps", "music"])
    response = await user.get("/search", params={"q": word}, expect="2xx,404")
    if check("the search is fast", response.elapsed_s < 0.5):
        await user.think(2)
