"""Reads YAML of plain values: nothing is constructed but lists, dicts, texts, numbers, dates."""
import yaml


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases, which can stand for billions of values, and without keys that are given twice."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            problem = 'aliases are not read: write *%s out' % alias.anchor
            raise yaml.MarkedYAMLError(None, None, problem, alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, '%.80r is given twice' % key.value, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _TextLoader(_Loader):
    """The same without types: yes, 1.0, null and 2024-01-01 stay the texts that they are."""

    yaml_implicit_resolvers = {}


def parse(text, as_text=False):
    """The value of a YAML text. The caller limits its length: 64 kB take up to a second.

    Args:
        as_text: whether every value is to be a text, in lists and mappings.
    Raises:
        ValueError: 'line 3: not valid YAML: ...'.
    """
    try:
        return yaml.load(text, Loader=_TextLoader if as_text else _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 'line %d: ' % (mark.line + 1) if mark else ''
        raise ValueError('%snot valid YAML: %s' % (line, error.problem or error.context)) from error
    except Exception as error:  # odd scalars and depths: KeyError, AttributeError, RecursionError ...
        raise ValueError('not valid YAML: %.80s' % repr(error)) from error
