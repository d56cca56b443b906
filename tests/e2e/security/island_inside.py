"""What runs in an island's namespaces: sets them up, hands its sockets out, and waits for the test's end."""

import socket
import subprocess
import sys

SETUP = """
set -e
ip link set lo up
ip route add local default dev lo
ip -6 route add local default dev lo
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
"""


def main(outside: socket.socket, scratch: str) -> None:
    subprocess.run(["sh", "-c", SETUP, "sh", scratch], check=True)
    with socket.socket(socket.AF_INET6) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen(100)
        name_server.bind(("127.0.0.1", 53))
        socket.send_fds(outside, [b"x"], [listener.fileno(), name_server.fileno()])
    outside.recv(1)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as outside:
        main(outside, sys.argv[2])
