"""What a browser would make of HTML: elements with their attributes and texts, in order."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "input", "img", "br", "hr", "col", "link"})


@dataclass
class Element:
    """An element. text: all text in it, that of its children included."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    parents: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        """Return the value of an attribute, "" if it has none."""
        return self.attributes[name] or ""


class ParsedPage(HTMLParser):
    """Parses HTML whose elements are all closed, and fails where they are not."""

    def __init__(self, html: str | bytes) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.text = ""
        self._open: list[Element] = []
        self.feed(html if isinstance(html, str) else html.decode())
        self.close()
        assert [element.tag for element in self._open] == []

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Return the elements of a tag, with these attributes; class_ for class."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element.tag == tag and wanted.items() <= element.attributes.items()
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        (element,) = self.all(tag, **attributes)
        return element

    def shape(self) -> list[tuple[str, list[str]]]:
        """Return all tags with the names of their attributes."""
        return [(element.tag, list(element.attributes)) for element in self.elements]

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), "an attribute is given twice"
        element = Element(tag, dict(attrs), parents=[parent.tag for parent in self._open])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop().tag == tag

    def handle_data(self, data):
        self.text += data
        for element in self._open:
            element.text += data
