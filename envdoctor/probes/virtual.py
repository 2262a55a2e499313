"""Whether a hypervisor is underneath."""

from __future__ import annotations

from envdoctor.host import Host
from envdoctor.host import text as read_text

CPUINFO = "/proc/cpuinfo"
_DMI = "/sys/class/dmi/id/"
# The first processor's lines; reading all of them takes the kernel 10 ms and more on a large server.
FIRST_PROCESSOR = 8192

# What the firmware of virtual machines calls itself. A cloud's bare-metal machine carries the cloud's name as well, so
# names of clouds count only as the product of a virtual one.
_MAKERS = ("qemu", "vmware", "xen", "innotek gmbh", "parallels", "bochs", "openstack", "nutanix", "red hat")
_PRODUCTS = (
    "kvm",
    "virtual machine",
    "virtualbox",
    "vmware",
    "google compute engine",
    "alibaba cloud ecs",
    "cvm",
    "openstack",
    "hvm domu",
    "qemu",
)


def read(host: Host) -> tuple[bool | None, str]:
    """Tell whether this is a virtual machine, and where that was read; None: nothing here tells.

    An x86 hypervisor sets a processor flag for its guests. Elsewhere only the firmware's names tell, and their silence
    proves nothing.
    """
    flags = words(read_text(host, CPUINFO, FIRST_PROCESSOR) or "", "flags")
    if flags is not None and "hypervisor" in flags:
        return True, CPUINFO
    maker = (read_text(host, _DMI + "sys_vendor") or "").lower()
    product = (read_text(host, _DMI + "product_name") or "").lower()
    if product.endswith(".metal"):
        return False, _DMI + "product_name"
    if any(name in maker for name in _MAKERS) or any(name in product for name in _PRODUCTS):
        return True, _DMI + "product_name"
    if host.kind("/proc/device-tree/hypervisor") == "directory":
        return True, "/proc/device-tree/hypervisor"
    return (None if flags is None else False), CPUINFO


def words(cpuinfo: str, field: str) -> frozenset[str] | None:
    r"""Give the words of a field of the first processor; None: it has no such field.

    >>> sorted(words("processor\t: 0\nflags\t\t: fpu avx\n", "flags"))
    ['avx', 'fpu']
    """
    value = first(cpuinfo, field)
    return None if value is None else frozenset(value.split())


def first(cpuinfo: str, field: str) -> str | None:
    r"""Give the first line of that field, or None.

    >>> first("model name\t: AMD EPYC\n", "model name"), first("", "model name")
    ('AMD EPYC', None)
    """
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == field:
            return value.strip()
    return None
