"""What the scripts of this folder share: OCI image layouts and how to end with an error."""
import hashlib
import json
import pathlib
import sys

INDEX = "application/vnd.oci.image.index.v1+json"
REFERENCE = "org.opencontainers.image.ref.name"


def fail(text):
    sys.exit(f"{sys.argv[0]}: {text}")


class Layout:
    """An image layout in a folder."""

    def __init__(self, folder, new=True):
        self.folder = pathlib.Path(folder)
        if new:
            if self.folder.exists():
                fail(f"{folder} is there already")
            (self.folder / "blobs/sha256").mkdir(parents=True)
        elif not (self.folder / "index.json").is_file():
            fail(f"{folder} is no OCI image layout: it has no index.json")

    def path(self, digest):
        return self.folder / "blobs" / digest.replace(":", "/")

    def read(self, descriptor):
        """The bytes of a blob, which must be those that its descriptor promises."""
        body = self.path(descriptor["digest"]).read_bytes()
        if "sha256:" + hashlib.sha256(body).hexdigest() != descriptor["digest"] or len(body) != descriptor["size"]:
            fail(f"{self.folder}: blob {descriptor['digest']} is damaged")
        return body

    def add(self, kind, body):
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        self.path(digest).write_bytes(body)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(body)}

    def add_json(self, kind, value):
        return self.add(kind, json.dumps(value, sort_keys=True, separators=(",", ":")).encode())

    def images(self):
        """The descriptors in index.json."""
        return json.loads((self.folder / "index.json").read_text())["manifests"]

    def only(self):
        images = self.images()
        if len(images) != 1:
            fail(f"{self.folder} holds {len(images)} images, and one is needed")
        return images[0]

    def finish(self, image, version):
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [image | {"annotations": {REFERENCE: version}}]}
        (self.folder / "index.json").write_text(json.dumps(index, sort_keys=True) + "\n")
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}\n')
