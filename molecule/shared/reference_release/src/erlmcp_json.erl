%% @doc JSON (RFC 8259) for OTP releases that have no module for it.
%%
%% Objects are maps with binary keys, arrays lists, strings UTF-8 binaries;
%% `true', `false' and `null' are atoms. Other atoms, and atom keys, are
%% written as strings.
-module(erlmcp_json).

-export([decode/1, encode/1]).

-type json() :: null | boolean() | number() | binary() | [json()] | #{binary() => json()}.
-export_type([json/0]).

-define(IS_SPACE(C), (C =:= $\s orelse C =:= $\t orelse C =:= $\n orelse C =:= $\r)).
-define(NUMBER, "^-?(?:0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?").

%% @doc Read one JSON text.
-spec decode(binary()) -> {ok, json()} | error.
decode(Text) ->
    try value(skip(Text)) of
        {Value, Rest} ->
            case skip(Rest) of
                <<>> -> {ok, Value};
                _ -> error
            end
    catch
        throw:invalid -> error
    end.

%% @doc Write one JSON text. Fails with `badarg' on what JSON cannot hold.
-spec encode(term()) -> iolist().
encode(Map) when is_map(Map) ->
    Members = [[string(key(Key)), $:, encode(Value)] || {Key, Value} <- maps:to_list(Map)],
    [${, lists:join($,, Members), $}];
encode(List) when is_list(List) ->
    [$[, lists:join($,, [encode(Element) || Element <- List]), $]];
encode(Atom) when Atom =:= null; is_boolean(Atom) -> [atom_to_binary(Atom)];
encode(Atom) when is_atom(Atom) -> string(atom_to_binary(Atom));
encode(Binary) when is_binary(Binary) -> string(Binary);
encode(Integer) when is_integer(Integer) -> [integer_to_binary(Integer)];
encode(Float) when is_float(Float) -> [float_to_binary(Float, [short])].

key(Key) when is_atom(Key) -> atom_to_binary(Key);
key(Key) when is_binary(Key) -> Key.

string(Binary) ->
    [$", << <<(escape(Char))/binary>> || Char <- characters(Binary) >>, $"].

characters(Binary) ->
    case unicode:characters_to_list(Binary) of
        Characters when is_list(Characters) -> Characters;
        _ -> error(badarg, [Binary])
    end.

escape($") -> <<"\\\"">>;
escape($\\) -> <<"\\\\">>;
escape($\n) -> <<"\\n">>;
escape($\r) -> <<"\\r">>;
escape($\t) -> <<"\\t">>;
escape(Char) when Char < 16#20; Char =:= 16#7F ->
    iolist_to_binary(io_lib:format("\\u~4.16.0b", [Char]));
escape(Char) -> <<Char/utf8>>.

skip(<<C, Rest/binary>>) when ?IS_SPACE(C) -> skip(Rest);
skip(Rest) -> Rest.

value(<<"null", Rest/binary>>) -> {null, Rest};
value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(<<$", Rest/binary>>) -> read_string(Rest, []);
value(<<$[, Rest/binary>>) -> first_element(skip(Rest));
value(<<${, Rest/binary>>) -> first_member(skip(Rest));
value(Rest) -> number(Rest).

first_element(<<$], Rest/binary>>) -> {[], Rest};
first_element(Rest) -> elements(Rest, []).

elements(Text, Acc) ->
    {Value, Rest} = value(Text),
    case skip(Rest) of
        <<$,, More/binary>> -> elements(skip(More), [Value | Acc]);
        <<$], More/binary>> -> {lists:reverse(Acc, [Value]), More};
        _ -> throw(invalid)
    end.

first_member(<<$}, Rest/binary>>) -> {#{}, Rest};
first_member(Rest) -> members(Rest, #{}).

members(<<$", Text/binary>>, Acc) ->
    {Key, AfterKey} = read_string(Text, []),
    case skip(AfterKey) of
        <<$:, AfterColon/binary>> ->
            {Value, Rest} = value(skip(AfterColon)),
            NewAcc = Acc#{Key => Value},
            case skip(Rest) of
                <<$,, More/binary>> -> members(skip(More), NewAcc);
                <<$}, More/binary>> -> {NewAcc, More};
                _ -> throw(invalid)
            end;
        _ -> throw(invalid)
    end;
members(_Text, _Acc) ->
    throw(invalid).

read_string(<<$", Rest/binary>>, Acc) ->
    {unicode:characters_to_binary(lists:reverse(Acc)), Rest};
read_string(<<$\\, $u, Hex:4/binary, Rest/binary>>, Acc) ->
    {Char, More} = escaped_unit(hex(Hex), Rest),
    read_string(More, [Char | Acc]);
read_string(<<$\\, C, Rest/binary>>, Acc) ->
    read_string(Rest, [unescape(C) | Acc]);
read_string(<<Char/utf8, Rest/binary>>, Acc) when Char >= 16#20 ->
    read_string(Rest, [Char | Acc]);
read_string(_Rest, _Acc) ->
    throw(invalid).

escaped_unit(High, <<$\\, $u, Hex:4/binary, Rest/binary>>)
  when High >= 16#D800, High =< 16#DBFF ->
    case hex(Hex) of
        Low when Low >= 16#DC00, Low =< 16#DFFF ->
            {16#10000 + ((High - 16#D800) bsl 10) + (Low - 16#DC00), Rest};
        _ -> throw(invalid)
    end;
escaped_unit(Unit, _Rest) when Unit >= 16#D800, Unit =< 16#DFFF ->
    throw(invalid);
escaped_unit(Unit, Rest) ->
    {Unit, Rest}.

hex(Digits) ->
    lists:foldl(fun(Digit, Value) -> Value * 16 + hex_digit(Digit) end, 0,
                binary_to_list(Digits)).

hex_digit(C) when C >= $0, C =< $9 -> C - $0;
hex_digit(C) when C >= $a, C =< $f -> C - $a + 10;
hex_digit(C) when C >= $A, C =< $F -> C - $A + 10;
hex_digit(_C) -> throw(invalid).

unescape($b) -> $\b;
unescape($f) -> $\f;
unescape($n) -> $\n;
unescape($r) -> $\r;
unescape($t) -> $\t;
unescape(C) when C =:= $"; C =:= $\\; C =:= $/ -> C;
unescape(_C) -> throw(invalid).

number(Text) ->
    case re:run(Text, ?NUMBER, [{capture, all, index}]) of
        {match, [{0, Length} | Parts]} ->
            <<Number:Length/binary, Rest/binary>> = Text,
            {to_number(Number, Parts), Rest};
        nomatch ->
            throw(invalid)
    end.

to_number(Number, []) ->
    binary_to_integer(Number);
to_number(Number, [{-1, 0}, {Exponent, _}]) ->
    %% Erlang reads no exponent without a fraction.
    <<Digits:Exponent/binary, Power/binary>> = Number,
    to_float(<<Digits/binary, ".0", Power/binary>>);
to_number(Number, _Parts) ->
    to_float(Number).

to_float(Number) ->
    try
        binary_to_float(Number)
    catch
        error:badarg -> throw(invalid)
    end.
