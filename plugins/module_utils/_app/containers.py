# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Says which version a container is of, and which images of an application are left over."""

from __future__ import annotations

import json

from .packages import version_in

LABEL = "everup.version"


def container_version(told: str, template: str, mark: str) -> str:
    """Return the version of a container: what its label says, else what its image says, empty when neither does.

    Parameters:
        told: labels and image as a list in JSON; empty without a container.
        template: the name of the image, with a mark in place of the version.
        mark: what stands for the version.
    """
    if not told.strip():
        return ""
    labels, image = json.loads(told)
    return (labels or {}).get(LABEL) or version_in([image or ""], template, mark)


def image_leftovers(images: list[str], template: str, mark: str, keep: int, protected: list[str]) -> list[str]:
    """Return the images to remove so that ``keep`` versions are left, the newest and the protected ones.

    Parameters:
        images: what the host has, as ``name:tag``, newest first; whatever has not the template's form is left alone.
        template: the name of the image, with a mark in place of the version.
        mark: what stands for the version.
        keep: how many versions to leave; more are left when more are protected.
        protected: versions never to remove.
    """
    versions = {image: version_in([image], template, mark) for image in dict.fromkeys(images)}
    ours = [image for image, version in versions.items() if version]
    spare = [image for image in ours if versions[image] not in protected]
    room = int(keep) - (len(ours) - len(spare))
    return spare[max(room, 0) :]
