"""From settings to the certificate of the local authority, which phones are to trust."""

from aserve.config.settings import Settings
from aserve.handlers.authority_certificate import AuthorityCertificate
from aserve.handlers.methods import MethodDispatcher, method_table
from aserve.policies.server_header import ServerHeader
from aserve.policies.shared_authority import AuthorityRouter
from aserve.policies.site import Site
from aserve.server.certificates import local_authority


def route_authority(settings: Settings, site: Site) -> Site:
    """Return what answers every request to a site, and those for the certificate."""
    policies = (ServerHeader(),) if settings.server_header else ()
    methods = method_table(AuthorityCertificate(local_authority().certificate_file))
    certificate = Site(MethodDispatcher(methods), policies, memory=site.memory)
    return AuthorityRouter(certificate, site, settings.place_of("share_ca"))


def authority_fingerprint() -> str:
    """Return the SHA-256 of the certificate of the authority, as other programs show it."""
    # Only here: cryptography is an extra.
    from aserve.tls.authority import fingerprint, utc_now  # noqa: PLC0415

    certificate, _ = local_authority().prepare(utc_now())
    return fingerprint(certificate)
