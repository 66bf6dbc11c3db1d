"""Which addresses are denied."""

import ipaddress


def networks(text):
    """The networks in a text with commas, spaces or line ends between them."""
    found = []
    for entry in text.replace(",", " ").split():
        try:
            found.append(ipaddress.ip_network(entry))
        except ValueError as error:
            raise ValueError(f"deny: {entry!r} is no address and no network such as 203.0.113.0/24: {error}") from None
    return found


def denied(address, text):
    """Whether the address is in one of the networks of the text."""
    address = ipaddress.ip_address(address)
    # An IPv4 address may come in the form that IPv6 has for it.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks(text) if network.version == address.version)
