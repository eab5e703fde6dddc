# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release's own Erlang judges a config set: one start of the virtual machine without the application.

It has no name, so it opens no port and needs no epmd. It does not open the node's log files either, which a start
could rotate under the running node: handlers are added by hand, with ``/dev/null`` for the file.
"""

from __future__ import annotations

import os
import re

from .._core.errors import OpsError
from .._core.slots import Slots
from .._erlang.terms import TermError, format_term, parse
from .vm_args import arguments, tokens

_NOT_IN_A_DRY_RUN = frozenset(
    "-name -sname -proto_dist -start_epmd -epmd_module -erl_epmd_port -dist_listen -hidden -connect_all -ssl_dist_opt "
    "-ssl_dist_optfile -remsh -boot -mode -config -s -run -eval -noshell -noinput +Bd +Bi +Bc +B".split()
)
_QUIET = {
    "logger": "[{handler,default,undefined}]",
    "logger_level": "none",
    "error_logger": "silent",
    "distributed": "[]",
    "sync_nodes_mandatory": "[]",
    "sync_nodes_optional": "[]",
}

# Answers a list of {duplicate, App}, {argument, App, Text}, {kernel, Key, Value, Wanted} and {handler, Id, Reason}.
_PROGRAM = r"""
{ok, [Terms]} = file:consult(FILE),
Applications = [A || {A, _} <- Terms],
Duplicates = [{duplicate, A} || A <- lists:usort(Applications -- lists:usort(Applications))],
Loaded = [{A, application:load(A)} || {A, _} <- init:get_arguments()],
Arguments = [{argument, A, V} || {A, {error, {bad_environment_value, V}}} <- Loaded],
Kernel = proplists:get_value(kernel, Terms, []),
Port = fun(V) -> is_integer(V) andalso V > 0 andalso V < 65536 end,
Bool = fun erlang:is_boolean/1,
Address = fun(V) -> is_tuple(V) andalso inet:ntoa(V) =/= {error, einval} end,
Seconds = fun(V) -> is_integer(V) andalso V > 0 end,
Checks = [
    {inet_dist_listen_min, Port, "a port from 1 to 65535"},
    {inet_dist_listen_max, Port, "a port from 1 to 65535"},
    {inet_dist_use_interface, Address, "an address like {127,0,0,1}"},
    {net_ticktime, Seconds, "a number of seconds"},
    {net_setuptime, Seconds, "a number of seconds"},
    {net_tickintensity, fun(V) -> is_integer(V) andalso V >= 4 andalso V =< 1000 end, "an integer from 4 to 1000"},
    {dist_auto_connect, fun(V) -> lists:member(V, [never, once]) end, "never or once"},
    {connect_all, Bool, "true or false"},
    {prevent_overlapping_partitions, Bool, "true or false"}],
Level = fun(V) -> lists:member(V, [none, all, emergency, alert, critical, error, warning, notice, info, debug]) end,
Get = fun(Key) -> case application:get_env(kernel, Key) of {ok, V} -> [V]; undefined -> [] end end,
Wrong = [{kernel, Key, V, Wanted} || {Key, Is, Wanted} <- Checks, V <- Get(Key), not Is(V)]
    ++ [{kernel, logger_level, V, "a level of logger"} || {logger_level, V} <- Kernel, not Level(V)],
Range = case {Get(inet_dist_listen_min), Get(inet_dist_listen_max)} of
    {[Min], [Max]} when Wrong =:= [], Min > Max ->
        [{kernel, inet_dist_listen_min, Min, "at most inet_dist_listen_max"}];
    _ -> []
end,
Silent = fun
    (#{config := #{file := _} = C} = H) -> H#{config := C#{file := "/dev/null"}};
    (#{config := #{type := T} = C} = H) when is_tuple(T) -> H#{config := C#{type := {file, "/dev/null"}}};
    (H) -> H
end,
Reason = fun({error, R}) -> R; (R) -> R end,
Handler = fun
    ({handler, Id, undefined}) when is_atom(Id) -> [];
    ({handler, Id, logger_std_h, #{} = C}) ->
        case logger:add_handler(Id, logger_std_h, Silent(C)) of
            ok -> logger:remove_handler(Id), [];
            R -> [{handler, Id, Reason(R)}]
        end;
    ({handler, Id, Module, #{}}) ->
        case code:ensure_loaded(Module) of
            {module, _} -> [];
            R -> [{handler, Id, {Module, Reason(R)}}]
        end;
    (H) when element(1, H) =:= handler -> [{handler, H, invalid}];
    (_) -> []
end,
Logger = case proplists:get_value(logger, Kernel, []) of
    Hs when is_list(Hs) -> lists:append([Handler(H) || H <- Hs]);
    V -> [{kernel, logger, V, "a list"}]
end,
io:format("~nchecked:~0p~n", [Duplicates ++ Arguments ++ Wrong ++ Range ++ Logger]),
halt(0).
"""


def release_waits(node):
    """Return whether another release than the current one runs from the next restart on."""
    return Slots(node["install_dir"], "releases").state().next is not None


class Judge:
    """Asks the Erlang of a release about a config set."""

    def __init__(self, node, release, runner):
        self.node = node
        self.release = release
        self.runner = runner

    def problems(self, directory, vm_args):
        """Return what is wrong with the set in ``directory``, each problem naming file, line or key.

        :param vm_args: the text of ``vm.args``.
        """
        flags = [flag for flag in arguments(tokens(vm_args)) if flag[0].text not in _NOT_IN_A_DRY_RUN]
        done = self._start(directory, [token.text for flag in flags for token in flag])
        output = f"{done.out}\n{done.err}"
        checked = re.search(r"^checked:(.*)$", done.out, re.MULTILINE)
        if checked and done.ok:
            return [_describe(problem, flags) for problem in _answer(checked[1])]
        if done.rc == 124:
            return ["the dry run of the release's Erlang did not end in time"]
        if "Usage: " in output:
            return [self._bad_flag(directory, vm_args, flags, output)]
        return [_boot_problem(output, flags)]

    def _start(self, directory, arguments_of_vm):
        release = self.release
        quiet = [part for key, value in _QUIET.items() for part in ("-kernel", key, value)]
        file = os.path.join(directory, "sys.config")
        argv = [
            *(os.path.join(release.erts_bin, "erlexec"), "-boot", release.boot, "-noinput", "+Bd"),
            *("-boot_var", "SYSTEM_LIB_DIR", release.system_lib),
            *arguments_of_vm,
            *quiet,
            *("-config", file, "-pa", *release.code_paths()),
            *("-eval", _PROGRAM.replace("FILE", format_term(file))),
        ]
        environment = {
            "HOME": self.node["home_dir"],
            "ROOTDIR": release.root,
            "BINDIR": release.erts_bin,
            "EMU": "beam",
            "PROGNAME": "erl",
            "ERL_CRASH_DUMP_SECONDS": "0",
        }
        return self.runner.run(argv, account=self.node["user"], env=environment)

    def _bad_flag(self, directory, vm_args, flags, output):
        # The emulator names the value or nothing; each flag alone tells which one it is.
        reason = next((line for line in output.splitlines() if line.strip()), "")
        for flag in flags:
            if flag[0].text.startswith("+"):
                texts = [token.text for token in flag]
                alone = self._start(directory, texts)
                if "Usage: " in alone.out + alone.err:
                    return f"vm.args line {flag[0].line}: the emulator refuses {' '.join(texts)}: {reason}"
        return f"vm.args: the emulator refuses its flags: {reason}"


def _answer(text):
    try:
        return parse(text)
    except TermError as error:
        raise OpsError(f"the dry run gave an answer that cannot be read: {error}", kind="erlang") from error


def _describe(problem, flags):
    kind, subject, *rest = problem
    if kind == "duplicate":
        return f"sys.config has more than one section {subject}: merge them"
    if kind == "argument":
        return _bad_argument(_string(rest[0]), flags)
    if kind == "handler":
        return f"sys.config: the logger handler {_shown(subject)} cannot be added: {_shown(rest[0])}"
    value, wanted = rest
    line = next(
        (flag[0].line for flag in flags if [token.text for token in flag[:2]] == ["-kernel", subject]),
        None,
    )
    place = f"vm.args line {line}" if line else "sys.config"
    return f"{place}: {subject} of kernel is {_shown(value)}, and must be {_string(wanted)}"


def _boot_problem(output, flags):
    match = re.search(r'error in config file "((?:[^"\\]|\\.)*)" \((\w+)\): ([^\n]*)\)', output)
    if match:
        path, line, what = match.groups()
        if what == "configuration file not found":
            return f"sys.config includes {path}, which is not there: it is not part of the set, so its path is absolute"
        name = "sys.config" if os.path.basename(path) == "sys.config" else path
        if what == "no ending <dot> found":
            what = "no ending <dot> found; or a quote is never closed"
        return f"{name}{f' line {line}' if line.isdigit() else ''}: {what}"
    match = re.search(r"\(invalid config data: ([^\n]*)\)", output)
    if match:
        return f"sys.config: {match[1]}"
    match = re.search(r'\(\{bad_environment_value,"([^\n]*)"\}\)', output)
    if match:
        return _bad_argument(parse(f'"{match[1]}"'), flags)
    slogans = [line for line in output.splitlines() if "ernel pid" in line] or output.strip().splitlines()
    return f"the release's Erlang does not start with it: {slogans[-1] if slogans else 'no output'}"


def _bad_argument(value, flags):
    for flag, *rest in flags:
        if value in (token.text for token in rest):
            return f"vm.args line {flag.line}: the value {value} of {flag.text} {rest[0].text} is no Erlang term"
    return f"vm.args: the value {value} is no Erlang term"


def _string(term):
    return "".join(map(chr, term)) if isinstance(term, list) else term


def _shown(term):
    return format_term(term)
