"""Recipes and measurements. They import `rfcn`; nothing imports them."""
import rfcn  # before anything imports MXNet: it gives NumPy the names that MXNet needs and sets its environment
