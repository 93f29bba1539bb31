"""Chat templates in the style of real models × conversations, as transformers' own environment renders them.

    .deps/torch/bin/python tests/golden/tokenizer_chat.py OUT.json
"""

import argparse
import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helper.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

LLAMA3 = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one call at a time") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content }}
    {%- else %}
        {{- 'A helper.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>{\\"name\\": <name>}<|im_end|>\\n" }}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' ~ message.role ~ '\\n' ~ ('<think>' ~ reasoning if reasoning and loop.index0 > ns.last else '') ~ content }}
    {%- elif loop.first or (messages[loop.index0 - 1].role != "tool") %}
        {{- '<|im_start|>' + message.role + '\\n' + content }}
    {%- else %}
        {{- content | replace('a', 'A') | upper }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

MIXED = """{% macro show(m, mark='*', n=2) %}  {{ mark * n }}{{ m.role | title }}: {{ m['content'] | default('-', true) }}
{% endmacro %}
{# a comment #}
   {% for m in messages if m.role != 'system' %}
     {%+ if loop.previtem is defined %}after {{ loop.previtem.role }}{% endif %}
{{ show(m, n=loop.index) }}
   {% else %}
nobody
{% endfor %}
{{ messages | map(attribute='role') | join(', ') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ {'b': 1, 'a': [1, 2.5, none, true, "é'\\""]} }} {{ {'b': 1, 'a': [1, 2.5, none, true, "é<"]} | tojson }}
{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}={{ v }};{% endfor %}
{% set a, b = 1, 2 %}{{ a + b * 3 - 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 ** 3 }} {{ 1 < 2 and not (2 < 1) }} {{ 'x' ~ 1 ~ none }}
{{ 'hello'[1:3] }} {{ 'hello'[::-1] }} {{ [1, 2, 3][-1] }} {{ 'a,b,c'.split(',') }} {{ ' x '.strip() | length }} {{ '42' | int + 1 }}
{% set text %}
 inner {{ 3 | string }}
{% endset %}{{ text | trim }} {{ missing is defined }} {{ missing }} {{ [3, 1, 2] | sort | first }} {{ range(3) | list }} {{ 5 is odd }} {{ 'é' | upper }}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% generation %}x{% endgeneration %} {{ messages[0].get('name', 'none') }} {{ 'yes' if messages | length > 1 }} {{ "a\\tb" }} {{ 1.0 }} {{ 1e3 if false else 10 * 1.5 }}
"""

TOOLS = [{"type": "function", "function": {"name": "weather", "description": "It's <sunny> & warm, é", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": []}}}]
CONVERSATIONS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": " Be brief. \n"}, {"role": "user", "content": "  Hi\n\nthere  "}],
    [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "\n<think>\nhm\n</think>\n\n2 "}, {"role": "user", "content": "日本語 😀 'quoted' \"x\""}],
    [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    [{"role": "user", "content": "weather?"},
     {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"place": "Köln", "n": 1.5, "deep": {"x": [True, None]}}}}]},
     {"role": "tool", "content": "<tool_response>warm and sunny</tool_response>"}, {"role": "user", "content": ""}],
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path,
                        help="file for a list of {template, messages, extra, add_generation_prompt, expected or error}")
    out, cases = parser.parse_args().out, []
    for template in [CHATML, LLAMA3, QWEN, MISTRAL, GEMMA, ZEPHYR, MIXED]:
        for messages in CONVERSATIONS:
            for tools in [None, TOOLS]:
                for prompt in [False, True]:
                    extra = {"bos_token": "<s>", "eos_token": "</s>", "tools": tools}
                    case = {"template": template, "messages": messages, "extra": extra, "add_generation_prompt": prompt}
                    try:
                        case["expected"] = compile_template(template).render(messages=messages, add_generation_prompt=prompt, documents=None, **extra)
                    except Exception as error:
                        case["error"] = str(error)
                    cases.append(case)
    with out.open("w", encoding="utf-8") as file:
        json.dump(cases, file, ensure_ascii=False)


if __name__ == "__main__":
    main()
