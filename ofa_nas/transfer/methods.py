"""What each method of transfer learning trains, one rule for the account, the network and the measurement."""

from dataclasses import dataclass

from ofa_nas.errors import ConfigError
from ofa_nas.space.operators import Linear, Operator
from ofa_nas.space.rewrites import LITE

_LAST_OF_LITE = f"{LITE}project"


@dataclass(frozen=True, slots=True)
class Parts:
    """What of an operator is trained.

    Attributes:
        weight: The weight of the convolution or of the classifier.
        scale: The scale of the batch norm behind it, or what is left of it: a factor for each channel.
        bias: The shift of that batch norm, or the bias that it was folded into.
    """

    weight: bool = False
    scale: bool = False
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Method:
    """A method of transfer learning; the classifier is trained by all of them.

    Attributes:
        name: As on the command line.
        main: Of the operators that the subnet had before.
        is_lite: Whether lite residual modules are put beside its blocks, and trained.
    """

    name: str
    main: Parts
    is_lite: bool = False

    @classmethod
    def named(cls, name: str, *, option: str = "--method") -> "Method":
        """The method of a name.

        Args:
            name: Key of `METHODS`.
            option: That it was given to, for the message.

        Raises:
            ConfigError: There is none; the message lists them.
        """
        if name not in METHODS:
            raise ConfigError(f"{option} {name[:40]}: expected one of {', '.join(METHODS)}")
        return METHODS[name]

    def parts(self, operator: Operator) -> Parts:
        """What of an operator is trained.

        With the biases of the blocks, the last one of a lite residual module would be there twice.
        """
        if isinstance(operator, Linear):
            return Parts(weight=True, bias=True)
        if not self.is_lite or not operator.name.startswith(LITE):
            return self.main
        return Parts(weight=True, scale=True, bias=not (self.main.bias and operator.name == _LAST_OF_LITE))


_BIASES = Parts(bias=True)
METHODS = {
    method.name: method
    for method in (
        Method("full", Parts(weight=True, scale=True, bias=True)),
        Method("last", Parts()),
        Method("bn", Parts(scale=True, bias=True)),
        Method("bias", _BIASES),
        Method("lite", Parts(), is_lite=True),
        Method("lite+bias", _BIASES, is_lite=True),
    )
}
