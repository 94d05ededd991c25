"""What commands say of a certificate they do not trust."""

import ssl


def untrusted(error: ssl.SSLCertVerificationError) -> str:
    """Return why, and what to do."""
    return f"its certificate: {error.verify_message}; SSL_CERT_FILE names whom to trust"
