"""Recipes and measurements. They import `rfcn`; nothing imports them."""
from rfcn._compat import check_packages  # `rfcn` is imported before MXNet: it gives NumPy the names that MXNet needs

check_packages()
