"""Keys, signatures, and what signed data mean: docs/audit.md, "Evidence"."""

import hashlib
from base64 import b64encode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

CURVES = {
    b"nistp256": (ec.SECP256R1(), hashes.SHA256()),
    b"nistp384": (ec.SECP384R1(), hashes.SHA384()),
    b"nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
RSA_HASHES = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
RSA_NAMES = {b"ssh-rsa", b"rsa-sha2-256", b"rsa-sha2-512"}
HASH_LENGTHS = {"sha256": 32, "sha512": 64}
LONGEST_NAME = 256


class Malformed(Exception):
    """These bytes are not what they were to be."""


class Reader:
    """RFC 4251 section 5."""

    def __init__(self, data):
        self.rest = data

    def take(self, length):
        if len(self.rest) < length:
            raise Malformed
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken

    def string(self):
        return self.take(int.from_bytes(self.take(4), "big"))

    def text(self):
        """For people to read."""
        name = self.string()
        if b"\0" in name:
            raise Malformed
        return name.decode("utf-8", "replace")

    def mpint(self):
        number = self.string()
        if number[:1] >= b"\x80" or number[:1] == b"\0" and number[1:2] < b"\x80":
            raise Malformed
        return int.from_bytes(number, "big")

    def end(self):
        if self.rest:
            raise Malformed


def string(data):
    return len(data).to_bytes(4, "big") + data


def sha256(data):
    return hashlib.sha256(data).digest()


class Key:
    """A public key that can verify."""

    def __init__(self, reader, kind):
        before = reader.rest
        self.kind, self.application = kind, None
        if kind in (b"ssh-ed25519", b"sk-ssh-ed25519@openssh.com"):
            point = reader.string()
            if len(point) != 32:
                raise Malformed
            self.public = Ed25519PublicKey.from_public_bytes(point)
        elif kind.startswith(b"ecdsa-sha2-") or kind == b"sk-ecdsa-sha2-nistp256@openssh.com":
            name, point = reader.string(), reader.string()
            if name not in CURVES or kind not in (b"ecdsa-sha2-" + name, b"sk-ecdsa-sha2-" + name + b"@openssh.com"):
                raise Malformed
            curve, self.hash = CURVES[name]
            try:
                self.public = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
            except ValueError:
                raise Malformed from None
        elif kind == b"ssh-rsa":
            exponent, modulus = reader.mpint(), reader.mpint()
            if not 1024 <= modulus.bit_length() <= 8192:
                raise Malformed
            try:
                self.public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
            except ValueError:
                raise Malformed from None
        else:
            raise Malformed
        if kind.startswith(b"sk-"):
            self.application = reader.string()
        self.blob = string(kind) + before[: len(before) - len(reader.rest)]

    @classmethod
    def read(cls, blob):
        """The plain key in a key or certificate."""
        reader = Reader(blob)
        kind = reader.string()
        if is_certificate_type(kind):
            reader.string()
            return cls(reader, plain_type(kind))
        key = cls(reader, kind)
        reader.end()
        return key

    def fingerprint(self):
        return fingerprint(self.blob)

    def verifies(self, message, blob):
        try:
            reader = Reader(blob)
            algorithm, signature = reader.string(), reader.string()
            if self.application is not None:
                trailer = reader.take(5)
                message = sha256(self.application) + trailer + sha256(message)
            reader.end()
            if algorithm != self.kind and not (self.kind == b"ssh-rsa" and algorithm in RSA_HASHES):
                return False
            self.verify(algorithm, message, signature)
            return True
        except (Malformed, InvalidSignature):
            return False

    def verify(self, algorithm, message, signature):
        if isinstance(self.public, Ed25519PublicKey):
            self.public.verify(signature, message)
        elif isinstance(self.public, rsa.RSAPublicKey):
            if algorithm not in RSA_HASHES:
                raise Malformed
            self.public.verify(signature, message, padding.PKCS1v15(), RSA_HASHES[algorithm])
        else:
            halves = Reader(signature)
            r, s = halves.mpint(), halves.mpint()
            halves.end()
            self.public.verify(encode_dss_signature(r, s), message, ec.ECDSA(self.hash))


def fingerprint(blob):
    return "SHA256:" + b64encode(sha256(blob)).decode().rstrip("=")


def host_fingerprint(blob):
    key = read_key(blob)
    return fingerprint(blob) if key is None else key.fingerprint()


def read_key(blob):
    try:
        return Key.read(blob)
    except Malformed:
        return None


def is_certificate_type(name):
    if len(name) > 73 or not name.isascii() or name.count(b"@") != 1:
        return False
    front, domain = name.split(b"@")
    return front.endswith(b"-cert-v01") and domain != b""


def plain_type(kind):
    """The type of the key in a certificate of this type."""
    return kind.replace(b"-cert-v01" if kind.startswith(b"sk-") else b"-cert-v01@openssh.com", b"")


def is_certificate(blob):
    try:
        return is_certificate_type(Reader(blob).string())
    except Malformed:
        return False


def bounded(name):
    """A name as a record has it."""
    whole = name.encode()
    if len(whole) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME // 4]}… ({len(whole)} bytes, SHA-256 {hashlib.sha256(whole).hexdigest()})"


class Login:
    """RFC 4252 section 7."""

    def __init__(self, data, key):
        reader = Reader(data)
        self.session = reader.string()
        kind = reader.take(1)
        self.user, self.service, self.method = reader.text(), reader.text(), reader.text()
        follows = reader.take(1)
        algorithm, shown = reader.text().encode(), reader.string()
        self.host_key = None
        if self.method == "publickey-hostbound-v00@openssh.com":
            self.host_key = reader.string()
        elif self.method != "publickey":
            raise Malformed
        reader.end()
        if not self.session or kind != b"\x32" or self.service != "ssh-connection" or follows != b"\1":
            raise Malformed
        if shown != key and not self.certifies(shown, key) or not self.signs_with(algorithm, shown):
            raise Malformed

    @staticmethod
    def certifies(shown, key):
        plain, other = read_key(key), read_key(shown)
        return is_certificate(shown) and not is_certificate(key) and plain and other and plain.blob == other.blob

    @staticmethod
    def signs_with(algorithm, key):
        kind, behind = Reader(key).string(), b"-cert-v01@openssh.com"
        certified = {name + behind for name in RSA_NAMES}
        return algorithm == kind or any(algorithm in names and kind in names for names in (RSA_NAMES, certified))

    def meaning(self):
        host_key = None if self.host_key is None else host_fingerprint(self.host_key)
        return {"kind": "login", "user": bounded(self.user), "service": self.service, "method": self.method,
                "host_key": host_key}


def sshsig(data):
    """OpenSSH PROTOCOL.sshsig: the namespace."""
    if not data.startswith(b"SSHSIG"):
        raise Malformed
    reader = Reader(data[6:])
    namespace, _reserved, algorithm, digest = reader.text(), reader.string(), reader.text(), reader.string()
    reader.end()
    if not namespace or len(digest) != HASH_LENGTHS.get(algorithm):
        raise Malformed
    return {"kind": "signature", "namespace": bounded(namespace)}


def certificate(data):
    reader = Reader(data)
    kind = reader.string()
    reader.string()
    if not is_certificate_type(kind) or b"\0" in kind or not reader.rest:
        raise Malformed
    return {"kind": "certificate", "certificate": bounded(kind.decode()), "certified": certified(data)}


def certified(blob):
    """What a certificate says of itself, up to its authority's key; None for what is none."""
    reader = Reader(blob)
    try:
        kind = reader.string()
        if not is_certificate_type(kind):
            return None
        reader.string()
        Key(reader, plain_type(kind))
        serial, _kind, key_id = int.from_bytes(reader.take(8), "big"), reader.take(4), reader.string()
        _principals, _validity = reader.string(), reader.take(16)
        _critical, _extensions, _reserved = reader.string(), reader.string(), reader.string()
        authority = reader.string()
        if is_certificate(authority):
            return None
        key_id = bounded(key_id.decode("utf-8", "replace"))
        return {"id": key_id, "serial": str(serial), "authority": Key.read(authority).fingerprint()}
    except Malformed:
        return None


def meaning(data, key):
    """What the data are, which that key, as the client encoded it, has signed: for the record, and if it is a login, that."""
    try:
        login = Login(data, key)
        return login.meaning(), login
    except Malformed:
        pass
    for read in (sshsig, certificate):
        try:
            return read(data), None
        except Malformed:
            pass
    return {"kind": "opaque"}, None
