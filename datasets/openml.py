"""OpenML: tables that others published, fetched once and then read from scikit-learn's cache."""

import re
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

NAME = re.compile(r"[\w.-]+")  # what can stand in an address without changing what it means


def fetch_table(name: str) -> "pandas.DataFrame":
    """Fetch a table from openml.org, by `sklearn.datasets.fetch_openml`.

    It is kept in scikit-learn's folder for data (``~/scikit_learn_data`` or ``$SCIKIT_LEARN_DATA``), and read from
    there the next time. Columns that OpenML marks as no features are not in it.

    Parameters
    ----------
    name : str
        Such as ``"creditcard"``, of which the oldest active version is taken, or the number of one version, such as
        ``"1597"``.

    Returns
    -------
    pandas.DataFrame of shape (n_rows, n_columns)
        All columns, the target among them. See `prepare`.

    Raises
    ------
    OSError
        If it is neither in the folder nor to be had from the network.
    ValueError
        If there is no such table, or it is sparse or broken.
    ImportError
        If pandas is missing, which comes with the extra ``tables``.
    """
    from sklearn.datasets import fetch_openml

    if not NAME.fullmatch(name):
        raise ValueError(f"openml: no such table. Expected a name or a number. Received {name!r}.")
    which = {"data_id": int(name)} if name.isdecimal() else {"name": name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are several versions, and that it tries again
        try:
            found = fetch_openml(**which, target_column=None, as_frame=True, parser="pandas")
        except ImportError as error:
            raise ImportError(
                "fetch_table reads through pandas. Expected it installed, as by pip install 'backproof[tables]'. "
                f"Received {error}."
            ) from error
        except OSError as error:
            raise OSError(
                f"openml:{name} cannot be fetched. Expected it in scikit-learn's folder for data, or a network. "
                f"Received {error}."
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"openml:{name} cannot be read. Expected a dense table. Received {error}.") from error
    return found.frame
