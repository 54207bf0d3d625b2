"""The catalog: every format by name. Free of torch.

Where several standards use one name for different formats, the plain name follows the published standard, and OCP's
E4M3 rule ("fn") where there is none; the others carry a suffix. E3M4 alone has four maxima in circulation
(15, 15.5, 30 and 31), so print bias and max beside every name.
"""

import difflib
from collections.abc import Iterator, Mapping

from altgrad.errors import FormatError, UnknownFormatError
from altgrad.numerics.format import FloatFormat

_OFP8 = "OCP OFP8 v1.0"
_FN_RULE = "the E4M3 rule of OCP OFP8 v1.0"
_MX = "OCP Microscaling (MX) v1.0"
_P3109 = "IEEE P3109 draft"

# The eight ways to split seven bits between exponent and mantissa, from fixed point to powers of two.
_SPLITS = (
    FloatFormat("E0M7", 0, 7, num_high_nans=0, source="fixed point m/128"),
    FloatFormat("E1M6", 1, 6, source=_FN_RULE),
    FloatFormat("E2M5", 2, 5, source=_FN_RULE),
    FloatFormat("E3M4", 3, 4, source=_FN_RULE),
    FloatFormat("E4M3", 4, 3, source=_OFP8, aliases=("E4M3FN", "float8_e4m3fn")),
    FloatFormat("E5M2", 5, 2, has_inf=True, num_high_nans=3, source=_OFP8, aliases=("float8_e5m2",)),
    FloatFormat("E6M1", 6, 1, source=_FN_RULE),
    FloatFormat("E7M0", 7, 0, source=_FN_RULE),
)

EIGHT_SPLITS: tuple[str, ...] = tuple(fmt.name for fmt in _SPLITS)
"""Names of the eight splits of eight bits, by falling mantissa width."""

_VARIANTS = (
    FloatFormat(
        "E3M4IEEE", 3, 4, has_inf=True, num_high_nans=15, source="ml_dtypes float8_e3m4", aliases=("float8_e3m4",)
    ),
    FloatFormat(
        "E4M3IEEE", 4, 3, has_inf=True, num_high_nans=7, source="ml_dtypes float8_e4m3", aliases=("float8_e4m3",)
    ),
    FloatFormat("E5M2FN", 5, 2, source=_FN_RULE),
    FloatFormat(
        "E4M3FNUZ",
        4,
        3,
        bias=8,
        num_high_nans=0,
        has_negative_zero=False,
        source="ml_dtypes float8_e4m3fnuz",
        aliases=("float8_e4m3fnuz",),
    ),
    FloatFormat(
        "E5M2FNUZ",
        5,
        2,
        bias=16,
        num_high_nans=0,
        has_negative_zero=False,
        source="ml_dtypes float8_e5m2fnuz",
        aliases=("float8_e5m2fnuz",),
    ),
)


def _p3109(precision: int, extended: bool) -> FloatFormat:
    """Return the signed 8-bit P3109 format of a precision (mantissa bits + 1), with Inf or finite."""
    exponent_bits = 8 - precision
    domain = "se" if extended else "sf"
    # A name without its domain means the extended one, as in the draft before domains had names.
    plain = (f"binary8p{precision}",) if extended else ()
    return FloatFormat(
        f"binary8p{precision}{domain}",
        exponent_bits,
        precision - 1,
        bias=2 ** (exponent_bits - 1),
        has_inf=extended,
        num_high_nans=0,
        has_negative_zero=False,
        source=_P3109,
        aliases=(f"p3109_k8p{precision}{domain}", *plain),
    )


_P3109_FAMILY = tuple(_p3109(precision, extended) for precision in range(1, 8) for extended in (True, False))

_SMALL = (
    FloatFormat("E3M2", 3, 2, num_high_nans=0, source=_MX, aliases=("float6_e3m2fn",)),
    FloatFormat("E2M3", 2, 3, num_high_nans=0, source=_MX, aliases=("float6_e2m3fn",)),
    FloatFormat("E2M1", 2, 1, num_high_nans=0, source=_MX, aliases=("float4_e2m1fn",)),
)

_REFERENCES = (
    FloatFormat(
        "BF16",
        8,
        7,
        has_inf=True,
        num_high_nans=127,
        torch_dtype="bfloat16",
        source="torch.bfloat16",
        aliases=("bfloat16",),
    ),
    FloatFormat(
        "FP16",
        5,
        10,
        has_inf=True,
        num_high_nans=1023,
        torch_dtype="float16",
        source="IEEE 754-2019 binary16",
        aliases=("float16", "binary16"),
    ),
)


class FormatCatalog(Mapping[str, FloatFormat]):
    """Formats by name or alias, in any case; iteration gives the canonical names in order of entry.

    Args:
        entries: The formats to begin with.
    """

    def __init__(self, entries: tuple[FloatFormat, ...]) -> None:
        self._entries: dict[str, FloatFormat] = {}
        self._by_label: dict[str, FloatFormat] = {}
        for fmt in entries:
            self.register(fmt)

    def __getitem__(self, name: str) -> FloatFormat:
        """Return the format called `name`, or raise an UnknownFormatError that offers the nearest names."""
        found = self._by_label.get(name.lower()) if isinstance(name, str) else None
        if found is None:
            nearest = difflib.get_close_matches(str(name).lower(), self._by_label, n=4, cutoff=0.0)
            names = dict.fromkeys(self._by_label[label].name for label in nearest)
            raise UnknownFormatError(
                "format",
                f"{name!r} is not a format; nearest: {', '.join(names)}",
                "Use one of these, see them all with `altgrad formats`, or define yours with FloatFormat(...)",
            )
        return found

    def __iter__(self) -> Iterator[str]:
        """Iterate over the canonical names."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return the number of formats; aliases do not count."""
        return len(self._entries)

    def __repr__(self) -> str:
        """Return the canonical names."""
        return f"FormatCatalog({', '.join(self._entries)})"

    def register(self, fmt: FloatFormat) -> None:
        """Add a format under its name and aliases. Adding an equal one again changes nothing.

        Args:
            fmt: The format.

        Raises:
            FormatError: If a different format already has one of the names.
        """
        labels = [label.lower() for label in (fmt.name, *fmt.aliases)]
        for label in labels:
            taken = self._by_label.get(label)
            if taken is not None and taken != fmt:
                raise FormatError(
                    fmt.name,
                    f"the name {label!r} already means {taken.name} (E{taken.exponent_bits}M{taken.mantissa_bits},"
                    f" bias {taken.bias}, max {taken.max:g})",
                    "Choose another name",
                )
        self._entries[fmt.name] = fmt
        self._by_label.update(dict.fromkeys(labels, fmt))


formats = FormatCatalog(_SPLITS + _VARIANTS + _P3109_FAMILY + _SMALL + _REFERENCES)
"""Every known format by name; see `FormatCatalog`."""


def register(fmt: FloatFormat) -> None:
    """Add a format to `formats`; see `FormatCatalog.register`."""
    formats.register(fmt)


def resolve(fmt: FloatFormat | str) -> FloatFormat:
    """Return `fmt` itself, or the format of that name.

    Raises:
        UnknownFormatError: If no format has that name.
    """
    return fmt if isinstance(fmt, FloatFormat) else formats[fmt]
