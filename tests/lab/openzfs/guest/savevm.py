"""Stops a VM and saves its state through QEMU's monitor.  savevm.py SOCKET NAME"""
import socket
import sys

monitor = socket.socket(socket.AF_UNIX)
monitor.connect(sys.argv[1])
monitor.settimeout(180)


def until_prompt():
    said = b""
    while not said.rstrip().endswith(b"(qemu)"):
        said += monitor.recv(9999)
    if b"Error" in said:
        sys.exit(said.decode(errors="replace"))


until_prompt()
for command in ("stop", "savevm " + sys.argv[2]):
    monitor.sendall(command.encode() + b"\n")
    until_prompt()
