"""What is in the image, for scanners: an SPDX document, and the files by which scanners know Debian's packages."""
import hashlib
import os
import re
import subprocess
import tomllib

NAME = "kube-static-egress-controller"


def said(*command):
    """What a program prints; nothing where it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def owner(path):
    """The Debian package that a file is of. dpkg may know it by the path before /usr was merged."""
    real = os.path.realpath(path)
    for name in [path, real, real.removeprefix("/usr")]:
        found = said("dpkg-query", "--search", name)
        if found:
            return found.split(": ")[0]
    # The bundle of certificates is made by a package's script.
    return "ca-certificates" if "cert" in path and said("dpkg-query", "--show", "ca-certificates") else None


def packages(paths):
    """The status of each Debian package that files of the image are of, by the package's name."""
    names = sorted({name for name in map(owner, paths) if name})
    return {name.split(":")[0]: said("dpkg-query", "--status", name) for name in names}


def field(status, name):
    match = re.search(rf"^{name}: (.*)$", status, re.M)
    return match[1] if match else ""


def distribution():
    """The distribution that the libraries are from, as /etc/os-release has it."""
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            return dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', file.read(), re.M))
    except OSError:
        return {}


def crates(lock):
    """Name, version and checksum of each crate of Cargo.lock, but for this one. The lock file names those of tests, too."""
    return [crate for crate in tomllib.loads(lock)["package"] if crate.get("source")]


def audit(metadata):
    """The crates that are linked into the program, in cargo-auditable's form, from `cargo metadata`. Those that only run at the build (procedural
    macros, build scripts) and those of tests are not in the program."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]

    def linked(package):
        named = [dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
        return [id for id in named if not any("proc-macro" in target["kind"] for target in packages[id]["targets"])]

    found, pending = set(), [root]
    while pending:
        package = pending.pop()
        if package not in found:
            found.add(package)
            pending += linked(package)
    order = sorted(found, key=lambda id: (packages[id]["name"], packages[id]["version"], id))
    listed = []
    for package in order:
        source = packages[package]["source"] or "local"
        crate = {
            "name": packages[package]["name"], "version": packages[package]["version"],
            "source": "crates.io" if source.startswith("registry+https://github.com/rust-lang/crates.io-index") else source.split("+")[0],
        }
        if dependencies := sorted(order.index(id) for id in set(linked(package))):
            crate["dependencies"] = dependencies
        listed.append(crate | ({"root": True} if package == root else {}))
    return {"packages": listed, "format": 1}


def entry(kind, name, version, purl, checksum=None):
    package = {
        "SPDXID": f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{name}-{version}"),
        "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
    }
    if checksum:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": checksum}]
    return package


def document(version, revision, made, architecture, lock, debian):
    """The SPDX document of an image, as a value for JSON."""
    system = distribution()
    root = entry("Image", NAME, version, f"pkg:cargo/{NAME}@{version}")
    parts = [entry("Crate", crate["name"], crate["version"], f"pkg:cargo/{crate['name']}@{crate['version']}",
                   crate.get("checksum")) for crate in crates(lock)]
    for name, status in debian.items():
        release = field(status, "Version")
        distro = f"{system.get('ID', 'debian')}-{system.get('VERSION_ID', '')}"
        purl = f"pkg:deb/{system.get('ID', 'debian')}/{name}@{release}?arch={architecture}&distro={distro}"
        parts.append(entry("Debian", name, release, purl))
    relation = {"spdxElementId": root["SPDXID"], "relationshipType": "DEPENDS_ON"}
    unique = hashlib.sha256(f"{version} {revision} {architecture} {lock} {debian}".encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{NAME}-{version}-{architecture}", "documentNamespace": f"https://spdx.org/spdxdocs/{NAME}-{unique}",
        "creationInfo": {"created": made, "creators": [f"Tool: {NAME}-deploy-image-build"]},
        "packages": [root] + parts,
        "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                           "relatedSpdxElement": root["SPDXID"]}]
                         + [relation | {"relatedSpdxElement": part["SPDXID"]} for part in parts],
    }
