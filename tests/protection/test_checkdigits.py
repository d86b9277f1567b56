"""Check digits: numbers their issuers publish pass, and a number with one wrong digit does not."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.protection import checkdigits as cd
from ai_platform.protection import checkdigits_world as world

PUBLISHED: list[tuple[Callable[[str], bool], str]] = [
    (cd.luhn_number, "4111 1111 1111 1111"),  # Visa's test card
    (cd.luhn_number, "046 454 286"),  # Canadian SIN, as in the CRA's examples
    (cd.mod97, "GB82WEST12345698765432"),  # ISO 13616
    (cd.mod97, "DE89370400440532013000"),
    (cd.aba_routing, "011000015"),  # Federal Reserve Bank of Boston
    (cd.npi, "1234567893"),  # CMS
    (cd.dea, "AB1234563"),
    (cd.vin, "1M8GDM9AXKP042788"),  # 49 CFR 565
    (cd.uk_nhs, "943 476 5919"),  # NHS Data Dictionary
    (cd.de_tax_id, "86095742719"),  # Bundeszentralamt für Steuern
    (cd.fr_nir, "255081416802538"),
    (cd.es_nif, "12345678Z"),
    (cd.it_fiscal_code, "RSSMRA85T10A562S"),
    (cd.nl_bsn, "111222333"),
    (cd.be_national_number, "85073003328"),
    (cd.pl_pesel, "44051401359"),
    (cd.pl_nip, "8567346215"),
    (cd.pt_nif, "123456789"),
    (cd.fi_hetu, "131052-308T"),
    (cd.se_personal_number, "811228-9874"),
    (cd.ch_ahv, "756.9217.0769.85"),
    (cd.ie_pps, "1234567FA"),
    (cd.tr_identity, "10000000146"),
    (world.br_cpf, "111.444.777-35"),
    (world.br_cnpj, "11.222.333/0001-81"),
    (world.in_aadhaar, "2345 6789 0124"),
    (world.cn_resident_id, "11010519491231002X"),
    (world.za_identity, "8001015009087"),
    (world.au_tfn, "123456782"),
    (world.au_medicare, "2123456701"),
    (world.jp_my_number, "123456789018"),
    (world.sg_nric, "S0000001I"),
    (world.th_identity, "1234545678781"),
    (world.base58check, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),  # the genesis block
    (world.bech32, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),  # BIP 173
]
EVERY_DIGIT = {cd.luhn_number, cd.mod97, cd.uk_nhs, cd.pl_pesel, cd.de_tax_id, cd.ch_ahv, world.in_aadhaar, cd.vin}
"""Schemes that are proven to catch every single wrong digit."""


@pytest.mark.requirement("DP-1")
@pytest.mark.parametrize(("check", "value"), PUBLISHED, ids=[f"{check.__name__}-{v}" for check, v in PUBLISHED])
def test_published_numbers_pass(check: Callable[[str], bool], value: str):
    assert check(value)


@given(st.data())
def test_a_wrong_digit_is_noticed(data: st.DataObject):
    check, value = data.draw(st.sampled_from([(check, value) for check, value in PUBLISHED if check in EVERY_DIGIT]))
    places = [place for place, char in enumerate(value) if char.isdigit()]
    place = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != value[place]]))
    assert not check(value[:place] + digit + value[place + 1 :])


@pytest.mark.parametrize("area", ["000", "666", "900", "999"])
def test_social_security_areas_that_are_not_issued(area: str):
    assert not cd.us_ssn(f"{area}-45-6789")
    assert cd.us_ssn("536-22-8491")


def test_sample_numbers_on_public_cards_are_not_findings():
    assert not cd.us_ssn("078-05-1120")  # the Woolworth wallet
