"""Which language a file is in, and how its definitions are found in a syntax tree.

Each language is one wheel of tree-sitter and one query; a capture's name is the kind of the symbol
and `@name` is its name.
"""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Parser, Query


@dataclass(frozen=True)
class Language:
    """A grammar and the query for its definitions."""

    name: str
    module: str
    query: str
    function: str = "language"


def _patterns(kinds: dict[str, str], name: str = "name: (_) @name") -> str:
    return "\n".join(f"({node} {name}) @{kind}" for node, kind in kinds.items())


_JAVASCRIPT = """
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(class_declaration name: (_) @name) @class
(method_definition name: (_) @name) @method
(variable_declarator name: (identifier) @name
  value: [(arrow_function) (function_expression)]) @function
(program (lexical_declaration (variable_declarator name: (identifier) @name) @variable))
(program (export_statement
  (lexical_declaration (variable_declarator name: (identifier) @name) @variable)))
"""

_TYPESCRIPT = _JAVASCRIPT + _patterns(
    {
        "abstract_class_declaration": "class",
        "interface_declaration": "interface",
        "type_alias_declaration": "type",
        "enum_declaration": "enum",
        "internal_module": "module",
        "method_signature": "method",
        "abstract_method_signature": "method",
        "function_signature": "function",
    }
)

_C = """
(function_definition declarator: (function_declarator declarator: (_) @name)) @function
(function_definition declarator: (pointer_declarator
  (function_declarator declarator: (_) @name))) @function
(struct_specifier name: (_) @name body: (_)) @struct
(union_specifier name: (_) @name body: (_)) @union
(enum_specifier name: (_) @name body: (_)) @enum
(type_definition declarator: (type_identifier) @name) @type
(preproc_def name: (_) @name) @macro
(preproc_function_def name: (_) @name) @macro
"""

_LANGUAGES = (
    Language(
        "python",
        "tree_sitter_python",
        """
(class_definition name: (_) @name) @class
(function_definition name: (_) @name) @function
(module (expression_statement (assignment left: (identifier) @name) @variable))
(class_definition body: (block
  (expression_statement (assignment left: (identifier) @name) @variable)))
""",
    ),
    Language("javascript", "tree_sitter_javascript", _JAVASCRIPT),
    Language("typescript", "tree_sitter_typescript", _TYPESCRIPT, "language_typescript"),
    Language("tsx", "tree_sitter_typescript", _TYPESCRIPT, "language_tsx"),
    Language(
        "go",
        "tree_sitter_go",
        _patterns(
            {
                "function_declaration": "function",
                "method_declaration": "method",
                "type_spec": "type",
            }
        )
        + "(source_file (const_declaration (const_spec name: (_) @name) @constant))"
        + "(source_file (var_declaration (var_spec name: (_) @name) @variable))",
    ),
    Language(
        "rust",
        "tree_sitter_rust",
        _patterns(
            {
                "function_item": "function",
                "function_signature_item": "function",
                "struct_item": "struct",
                "enum_item": "enum",
                "union_item": "union",
                "trait_item": "trait",
                "mod_item": "module",
                "macro_definition": "macro",
                "type_item": "type",
                "const_item": "constant",
                "static_item": "constant",
            }
        )
        + "(impl_item type: (_) @name) @implementation",
    ),
    Language(
        "java",
        "tree_sitter_java",
        _patterns(
            {
                "class_declaration": "class",
                "interface_declaration": "interface",
                "enum_declaration": "enum",
                "record_declaration": "class",
                "annotation_type_declaration": "interface",
                "method_declaration": "method",
                "constructor_declaration": "method",
            }
        ),
    ),
    Language("c", "tree_sitter_c", _C),
    Language(
        "cpp",
        "tree_sitter_cpp",
        _C
        + """
(function_definition declarator: (reference_declarator
  (function_declarator declarator: (_) @name))) @function
(class_specifier name: (_) @name body: (_)) @class
(namespace_definition name: (_) @name) @namespace
(alias_declaration name: (_) @name) @type
""",
    ),
    Language(
        "ruby",
        "tree_sitter_ruby",
        _patterns(
            {
                "class": "class",
                "module": "module",
                "method": "method",
                "singleton_method": "method",
            }
        ),
    ),
    Language(
        "csharp",
        "tree_sitter_c_sharp",
        _patterns(
            {
                "class_declaration": "class",
                "interface_declaration": "interface",
                "struct_declaration": "struct",
                "enum_declaration": "enum",
                "record_declaration": "class",
                "delegate_declaration": "type",
                "namespace_declaration": "namespace",
                "method_declaration": "method",
                "constructor_declaration": "method",
                "property_declaration": "property",
            }
        ),
    ),
    Language(
        "php",
        "tree_sitter_php",
        _patterns(
            {
                "class_declaration": "class",
                "interface_declaration": "interface",
                "trait_declaration": "trait",
                "enum_declaration": "enum",
                "function_definition": "function",
                "method_declaration": "method",
            }
        ),
        "language_php",
    ),
    Language("bash", "tree_sitter_bash", _patterns({"function_definition": "function"})),
    Language(
        "kotlin",
        "tree_sitter_kotlin",
        _patterns(
            {
                "class_declaration": "class",
                "object_declaration": "object",
                "function_declaration": "function",
            }
        ),
    ),
    Language(
        "scala",
        "tree_sitter_scala",
        _patterns(
            {
                "class_definition": "class",
                "object_definition": "object",
                "trait_definition": "trait",
                "function_definition": "function",
                "enum_definition": "enum",
            }
        ),
    ),
    Language(
        "swift",
        "tree_sitter_swift",
        _patterns(
            {
                "class_declaration": "class",
                "protocol_declaration": "interface",
                "function_declaration": "function",
            }
        ),
    ),
    Language("lua", "tree_sitter_lua", _patterns({"function_declaration": "function"})),
)

_BY_NAME = {language.name: language for language in _LANGUAGES}

_SUFFIXES = {
    "python": "py pyi pyx pxd",
    "javascript": "js jsx mjs cjs",
    "typescript": "ts mts cts",
    "tsx": "tsx",
    "go": "go",
    "rust": "rs",
    "java": "java",
    "c": "c",
    "cpp": "h cc cpp cxx hh hpp hxx ipp cu cuh inl",
    "ruby": "rb rake gemspec",
    "csharp": "cs",
    "php": "php",
    "bash": "sh bash",
    "kotlin": "kt kts",
    "scala": "scala sc",
    "swift": "swift",
    "lua": "lua",
}

_BY_SUFFIX = {
    suffix: _BY_NAME[name] for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}


def language_of(path: str) -> Language | None:
    """Return the language of a path by its suffix, or None where no grammar is at hand."""
    return _BY_SUFFIX.get(path.rpartition(".")[2].lower())


@cache
def grammar(name: str) -> "tuple[Parser, Query]":
    """Load a language's parser and query; the first use of a language costs its import."""
    from tree_sitter import Language as Grammar
    from tree_sitter import Parser, Query

    language = _BY_NAME[name]
    pointer: object = getattr(importlib.import_module(language.module), language.function)()
    loaded = Grammar(pointer)
    return Parser(loaded), Query(loaded, language.query)
