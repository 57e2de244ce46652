"""Takes the ELF kernel, a zstd frame, out of a bzImage: QEMU boots that faster.  vmlinux.py BZIMAGE OUT"""
import subprocess
import sys

image = open(sys.argv[1], "rb").read()
at = -1
while (at := image.find(b"\x28\xb5\x2f\xfd", at + 1)) >= 0:
    kernel = subprocess.run(["zstd", "-dc"], input=image[at:], capture_output=True).stdout
    if kernel.startswith(b"\x7fELF"):
        open(sys.argv[2], "wb").write(kernel)
        break
else:
    sys.exit("no kernel found in " + sys.argv[1])
