"""A link that loses packets: a TUN device, and a process that sends each packet back or drops it.

The device is ADDRESS, and everything behind it is PEER. What is sent to PEER comes back with both
addresses exchanged, as if PEER had sent it: so a server of this machine is reached through the link
as PEER, and a client is seen by it as PEER. The checksums stay right: they are sums.
"""

import fcntl
import os
import random
import struct
import subprocess

ADDRESS, PEER = "10.99.0.1", "10.99.0.2"
_DEVICE = "lossy0"
_TUNSETIFF = 0x400454CA
_TUN, _NO_PACKET_INFO = 0x0001, 0x1000
_MAX_PACKET = 1 << 16
_IPV4 = 4


def open_link(loss: float) -> int:
    """Open the link, which loses this share of packets; return the process that forwards.

    It ends by a signal, and the device with it. Raises OSError where a device may not be created.
    """
    device = os.open("/dev/net/tun", os.O_RDWR)
    name = struct.pack("16sH14x", _DEVICE.encode(), _TUN | _NO_PACKET_INFO)
    fcntl.ioctl(device, _TUNSETIFF, name)
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/30", "dev", _DEVICE], check=True)
    subprocess.run(["ip", "link", "set", _DEVICE, "up"], check=True)
    pid = os.fork()
    if pid == 0:
        try:
            _forward(device, loss)
        finally:
            os._exit(0)
    os.close(device)
    return pid


def _forward(device: int, loss: float) -> None:
    chance = random.Random(1)
    while True:
        packet = os.read(device, _MAX_PACKET)
        if packet[0] >> 4 == _IPV4 and chance.random() >= loss:
            os.write(device, send_back(packet))


def send_back(packet: bytes) -> bytes:
    """Return an IPv4 packet with its addresses exchanged (RFC 791 section 3.1)."""
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
