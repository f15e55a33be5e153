from __future__ import annotations

import hashlib
import re

from pipeline.browsing.bundle import IGV, IGV_SHA256, IGV_VERSION, INDEX, MODULES, STATIC, STYLE, bundle, text_of


def test_igv_is_the_pinned_one() -> None:
    content = (STATIC / IGV).read_bytes()
    assert hashlib.sha256(content).hexdigest() == IGV_SHA256
    assert f'"{IGV_VERSION}"'.encode() in content


def test_notices_name_what_igv_contains() -> None:
    notices = text_of("NOTICES.txt")
    assert f"igv.js {IGV_VERSION}" in notices
    banners = re.findall(r"/\*!\s*(?:@license )?([A-Za-z-]+)", text_of(IGV))
    assert {"pako", "DOMPurify"} <= set(banners)
    assert not [name for name in banners if name != "For" and name not in notices]  # "For license information ..."


def test_every_file_of_the_page_is_known() -> None:
    known = {INDEX, STYLE, IGV, "NOTICES.txt", *MODULES}
    assert {path.name for path in STATIC.iterdir()} == known


def test_modules_import_only_from_those_before_them() -> None:
    for at, name in enumerate(MODULES):
        wanted = re.findall(r'from "\./([^"]+)"', text_of(name))
        assert set(wanted) <= set(MODULES[:at]), name


def test_the_bundle_has_every_module_and_no_import_or_export() -> None:
    script = bundle()
    assert all(f'modules["{name}"] = ' in script for name in MODULES)
    assert not re.findall(r"^(?:import|export)\b", script, re.MULTILINE)


def test_nothing_of_the_page_names_another_host() -> None:
    own = [text_of(name) for name in (INDEX, STYLE, *MODULES)]
    assert not [found for text in own for found in re.findall(r"(?:https?:)?//[a-z]+\.[a-z.]+", text)]
