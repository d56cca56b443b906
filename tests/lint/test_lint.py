"""Each check fails on a sample of what it is for, and passes on its innocent neighbour."""

import json
from pathlib import Path

import pytest

from tests.lint import counterparts, layers, names, places, run
from tests.lint.tidy import Tidy


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("server/base/failure.h", '#include "policy/backoff.h"'),
        ("server/policy/backoff.cc", '#include "net/loop.h"'),
        ("server/policy/backoff.cc", '#include "session/session.h"'),
        ("server/policy/egress.h", "#include <boost/url.hpp>"),
        ("server/policy/egress.cc", "#include <boost/asio/ip/address.hpp>"),
        ("server/base/log.cc", "#include <boost/url/parse.hpp>"),
        ("server/net/loop.h", '#include "session/session.h"'),
        ("server/session/session.cc", '#include "http/engine.h"'),
        ("server/http/engine.cc", '#include "session/session.h"'),
        ("server/session/session.cc", '#include "rpc/attach.h"'),
        ("server/session/session.cc", '#include "fairlead/v1/types.pb.h"'),
        ("server/session/session.cc", "#include <fairlead/v1/types.pb.h>"),
        ("server/net/loop.cc", "  #  include <grpcpp/grpcpp.h>"),
        ("server/rpc/attach.cc", '#include "config.h"'),
        ("server/rpc/attach.cc", '#include "fairlead/config/v1/config.pb.h"'),
        ("server/config.cc", '#include "fairlead/v1/types.pb.h"'),
        ("server/net/dial.cc", '#include "loop.h"'),
        ("server/net/dial.cc", '#include "../policy/backoff.h"'),
        ("server/attic/old.cc", ""),
        ("server/session/session.h", "boost::asio::ssl::stream<tcp::socket>& stream_;"),
        ("server/net/transport.cc", "asio::ssl::stream<tcp::socket> stream(socket, context);"),
        ("server/net/transport.cc", "asio::ssl::stream<tcp::socket> stream{std::move(socket), context};"),
        ("server/net/transport.cc", "return ssl::stream<tcp::socket>(socket, context);"),
        ("server/net/transport.cc", "auto s = std::make_unique<asio::ssl::stream<tcp::socket>>(socket, context);"),
        ("server/net/dialogue.cc", "asio::ssl::stream<tcp::socket> stream(socket, context);"),
    ],
)
def test_layers_refuse(tmp_path: Path, path: str, line: str) -> None:
    write(tmp_path, path, f"// A file.\n{line}\n")
    assert layers.complaints(tmp_path)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("server/policy/backoff.cc", '#include "base/time.h"'),
        ("server/policy/egress.cc", "#include <boost/url.hpp>"),
        ("server/policy/egress.cc", "#include <boost/url/parse.hpp>"),
        ("server/net/loop.cc", "#include <boost/asio/io_context.hpp>"),
        ("server/session/session.cc", '#include "net/transport.h"'),
        ("server/rpc/attach.cc", '#include "session/session.h"'),
        ("server/rpc/attach.cc", '#include "fairlead/v1/session.grpc.pb.h"'),
        ("server/rpc/attach.cc", "#include <grpcpp/grpcpp.h>"),
        ("server/config.cc", '#include "fairlead/config/v1/config.pb.h"'),
        ("server/config.cc", '#include "config.h"'),
        ("server/config.h", '#include "policy/egress.h"'),
        ("server/main.cc", '#include "config.h"'),
        ("server/main.cc", "#include <grpcpp/grpcpp.h>"),
        ("server/net/transport.h", "using TlsStream = asio::ssl::stream<tcp::socket>;"),
        ("server/net/transport.h", "asio::ssl::stream<tcp::socket>& stream;"),
        ("server/net/transport.h", "asio::ssl::stream<tcp::socket> stream_;"),
        ("server/net/transport.h", "std::unique_ptr<asio::ssl::stream<tcp::socket>> stream_;"),
        ("server/net/transport.h", "// An asio::ssl::stream<tcp::socket>(socket, context) is made in dial."),
        ("server/net/dial.cc", "asio::ssl::stream<tcp::socket> stream(socket, context);"),
        ("server/net/tls.cc", "asio::ssl::stream<tcp::socket> stream(socket, context);"),
        ("tests/unit/policy/backoff_test.cc", '#include "session/session.h"'),
    ],
)
def test_layers_allow(tmp_path: Path, path: str, line: str) -> None:
    write(tmp_path, path, f"// A file.\n{line}\n")
    assert layers.complaints(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("server/net/socket_manager.cc", ""),
        ("server/utils/text.h", ""),
        ("tests/helper.py", ""),
        ("server/rpc/data.h", ""),
        ("server/net/dial.h", "class DialHandler {};"),
        ("server/net/dial.cc", "  struct HTTPUtils {};"),
        ("server/net/dial.h", "enum class Info { kOne };"),
        ("server/net/dial.h", "using ReadHandler = int;"),
        ("clients/python/a.py", "class SessionManager:\n    pass"),
        ("proto/fairlead/v1/a.proto", "message SessionData {}\nmessage Helper {}"),
    ],
)
def test_names_refuse(tmp_path: Path, path: str, text: str) -> None:
    write(tmp_path, path, text)
    assert names.complaints(tmp_path)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("server/net/dial.h", "class Dialler {};\nclass Utilization {};\n"),
        ("tests/a.py", "class Control(BaseHTTPRequestHandler):\n    pass"),
        ("server/base/log.h", "// A handler of nothing.\nenum class Level { kInfo };"),
    ],
)
def test_names_allow(tmp_path: Path, path: str, text: str) -> None:
    write(tmp_path, path, text)
    assert names.complaints(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "cat /" + "root/notes",
        "PATH=/" + "home/alice/bin",
        "see /" + "work/main/README.md",
        "https://" + "pypi" + ".org/simple",
        "GOPROXY=https://proxy.golang" + ".org",
        "FROM ghcr" + ".io/someone/image",
        "http://deb.debian" + ".org/debian",
    ],
)
def test_places_refuse(tmp_path: Path, text: str) -> None:
    write(tmp_path, "docs/page.md", f"{text}\n")
    assert len(places.complaints(tmp_path)) == 1


def test_places_refuse_the_path_of_the_checkout(tmp_path: Path) -> None:
    write(tmp_path, "docs/page.md", f"cd {tmp_path}\n")
    assert places.complaints(tmp_path)


@pytest.mark.parametrize(
    "text", ["the root/ of it", "/var/lib/x", "${HOME}/bin", "unix:///run/fairlead.sock", "a/home/x", "/recording/NAME"]
)
def test_places_allow(tmp_path: Path, text: str) -> None:
    write(tmp_path, "docs/page.md", f"{text}\n")
    assert places.complaints(tmp_path) == []


def test_files_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    assert places.complaints(tmp_path) == []


def test_counterparts_lists_what_no_test_mirrors(tmp_path: Path) -> None:
    for path in ("server/policy/a.cc", "server/policy/b.cc", "server/net/c.cc", "server/main.cc"):
        write(tmp_path, path, "")
    write(tmp_path, "tests/unit/policy/a_test.cc", "")
    write(tmp_path, "tests/integration/c_test.cc", "")
    assert counterparts.without_test(tmp_path) == ["server/policy/b.cc"]


def test_clang_format_refuses(tmp_path: Path) -> None:
    write(tmp_path, ".clang-format", "BasedOnStyle: Google\n")
    write(tmp_path, "server/a.cc", "int  a ;\n")
    assert any("server/a.cc:1" in complaint for complaint in run.clang_format(tmp_path))
    write(tmp_path, "server/a.cc", "int a;\n")
    assert run.clang_format(tmp_path) == []


def test_ruff_refuses_a_defect_and_a_format(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "import os\n")
    assert any("F401" in complaint for complaint in run.ruff(tmp_path))
    write(tmp_path, "a.py", "a = [1,2]\n")
    assert any("a.py" in complaint for complaint in run.ruff(tmp_path))
    write(tmp_path, "a.py", "a = [1, 2]\n")
    assert run.ruff(tmp_path) == []


def test_mypy_refuses_in_tests_and_in_the_client(tmp_path: Path) -> None:
    write(tmp_path, "tests/pyproject.toml", "[tool.mypy]\nstrict = true\n")
    write(tmp_path, "tests/a.py", "def a(): return 1\n")
    assert any("no-untyped-def" in complaint for complaint in run.mypy(tmp_path))
    write(tmp_path, "tests/a.py", "def a() -> int:\n    return 1\n")
    assert run.mypy(tmp_path) == []
    write(tmp_path, "clients/python/pyproject.toml", "")
    write(tmp_path, "clients/python/src/b.py", 'b: int = "1"\n')
    assert any("assignment" in complaint for complaint in run.mypy(tmp_path))


def test_buf_refuses(tmp_path: Path) -> None:
    write(tmp_path, "proto/buf.yaml", "version: v2\nlint:\n  use:\n    - STANDARD\n")
    write(tmp_path, "proto/a/v1/a.proto", 'syntax = "proto3";\npackage a.v1;\nenum Kind { NONE = 0; }\n')
    assert any("KIND_" in complaint for complaint in run.buf(tmp_path))


def test_shell_refuses_what_bash_cannot_read(tmp_path: Path) -> None:
    write(tmp_path, "tests/setup/tool", "#!/bin/bash\nif true; then\n")
    assert run.shell(tmp_path)


def tidy_of(root: Path, said: list[str]) -> Tidy:
    unit = {
        "directory": str(root),
        "file": str(root / "server/a.cc"),
        "command": "clang++-19 -std=c++20 -Iserver -c server/a.cc",
    }
    write(root, "build/compile_commands.json", json.dumps([unit]))
    return Tidy(root, root / "build", root / "cache", said.append)


def test_clang_tidy_refuses_with_our_settings_and_remembers_what_is_clean(tmp_path: Path) -> None:
    write(tmp_path, ".clang-tidy", (run.ROOT / ".clang-tidy").read_text())
    write(
        tmp_path,
        "server/a.h",
        "#pragma once\n#include <string>\ninline void Take(std::string text) { text.clear(); }\n",
    )
    moved = '#include "a.h"\nsize_t Length(std::string text) {\n  Take(std::move(text));\n  return text.size();\n}\n'
    write(tmp_path, "server/a.cc", moved)
    for _ in range(2):  # A failure is not remembered.
        assert any("bugprone-use-after-move" in complaint for complaint in tidy_of(tmp_path, []).complaints())

    write(tmp_path, "server/a.cc", '#include "a.h"\nvoid Give(std::string text) { Take(std::move(text)); }\n')
    said: list[str] = []
    assert tidy_of(tmp_path, said).complaints() == []
    assert len(said) == 2
    said.clear()
    assert tidy_of(tmp_path, said).complaints() == []
    assert said == ["    clang-tidy: 1 files, 0 of them not known to be clean"]

    header = (tmp_path / "server/a.h").read_text()
    write(tmp_path, "server/a.h", header + "// Another header, another verdict.\n")
    said.clear()
    tidy_of(tmp_path, said).complaints()
    assert len(said) == 2
