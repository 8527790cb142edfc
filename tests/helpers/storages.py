"""What tests ask of any storage."""

from concurrent.futures import ThreadPoolExecutor

from transforms.storage import Storage


def creators(storage: Storage, root: str, name: str, many: int) -> list[bytes]:
    """Creates one object from many threads at once; what those stored that succeeded."""

    def create(number: int) -> bytes | None:
        content = b"creator %d" % number
        try:
            storage.create(root, name, content)
        except FileExistsError:
            return None
        return content

    with ThreadPoolExecutor(many) as pool:
        return [content for content in pool.map(create, range(many)) if content]
