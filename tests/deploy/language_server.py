"""A client of a language server: the few messages that an editor sends, over stdio."""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

SECONDS: Final = 30
_SETTINGS: Final = {"validate": True, "completion": True, "hover": True} | {
    "schemaStore": {"enable": False}  # it would be fetched from the Internet
}

Message = dict[str, Any]


def _read(stream: IO[bytes]) -> Message | None:
    """Read one message: headers, an empty line, then JSON of the stated length."""
    length = 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return json.loads(stream.read(length)) if length else None


class LanguageServer:
    """A running language server with one file open in it at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self._directory = directory
        self._received: queue.Queue[Message | None] = queue.Queue()
        self._last_id = 0
        threading.Thread(target=self._receive, daemon=True).start()
        root = {"uri": directory.as_uri(), "name": "rules"}
        workspace = {"configuration": True, "workspaceFolders": True}
        completion = {"completionItem": {"snippetSupport": True}}
        text = {"completion": completion, "hover": {"contentFormat": ["markdown"]}}
        self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": root["uri"],
                "workspaceFolders": [root],
                "capabilities": {"workspace": workspace, "textDocument": text},
            },
        )
        self.notify("initialized", {})
        while self._next().get("method") != "workspace/configuration":
            pass  # the server validates with its own settings until it has ours

    def _receive(self) -> None:
        while message := _read(self._stdout):
            self._received.put(message)
        self._received.put(None)

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._stdin.flush()

    def notify(self, method: str, params: Any) -> None:
        """Tell the server something that has no answer."""
        self._send(method=method, params=params)

    def request(self, method: str, params: Any) -> Any:
        """Ask the server, and return its answer."""
        self._last_id += 1
        self._send(id=self._last_id, method=method, params=params)
        while True:
            message = self._next()
            if message.get("id") == self._last_id and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def _next(self) -> Message:
        """Return the next message, and answer it where the server asks."""
        message = self._received.get(timeout=SECONDS)
        assert message is not None, "the language server has ended"
        if "id" in message and "method" in message:
            answer = None
            if message["method"] == "workspace/configuration":
                items = message["params"]["items"]
                answer = [
                    _SETTINGS if item["section"] == "yaml" else {} for item in items
                ]
            self._send(id=message["id"], result=answer)
        return message

    def open(self, name: str, text: str) -> list[Message]:
        """Open a file in the editor, and return what the server finds wrong in it."""
        uri = self._uri(name)
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})
        while True:
            message = self._next()
            if message.get("method") == "textDocument/publishDiagnostics":
                params = message["params"]
                if params["uri"] == uri:
                    found: list[Message] = params["diagnostics"]
                    return found

    def at(self, request: str, name: str, line: int, column: int) -> Any:
        """Ask about a place in an open file, both counted from 0."""
        place = {"line": line, "character": column}
        return self.request(
            f"textDocument/{request}",
            {"textDocument": {"uri": self._uri(name)}, "position": place},
        )

    def _uri(self, name: str) -> str:
        return (self._directory / name).as_uri()


@contextmanager
def running(command: Sequence[str | Path], directory: Path) -> Iterator[LanguageServer]:
    """Run a language server for the files of a directory."""
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=directory,
    ) as process:
        try:
            yield LanguageServer(process, directory)
        finally:
            process.kill()
