"""How main is called and what it gives is waited for, where it is not the usual function.

Loaded by launch.py for such a main.
"""

IDS = {"id", "job", "name"}
CONFIGS = {"conf", "config", "configuration", "cfg", "options", "parameters", "params", "settings"}
# What makes a name of the module without writing it down.
HIDDEN = {"eval", "exec", "globals", "locals", "setattr", "vars", "__dict__"}


def may_bind_main(source):
    """Whether running this source may make a `main`: False only where it cannot."""
    import ast

    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name="main" | "__getattr__") | ast.AsyncFunctionDef(name="main") | ast.ClassDef(name="main"):
                return True
            case ast.Name(id="main", ctx=ast.Store()) | ast.Constant(value="main"):
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in HIDDEN:
                return True
            case ast.alias(name="*") | ast.alias(name="main", asname=None) | ast.alias(asname="main"):
                return True
    return False


def is_id(name):
    name = name.lower().strip("_")
    return name in IDS or name.endswith("id")


def is_config(name):
    return name.lower().strip("_") in CONFIGS


def arguments(main, job_id, config, refused):
    """The positional and the named arguments that this main takes."""
    import inspect

    if callable(getattr(main, "callback", None)) and hasattr(main, "make_context"):  # a command of click
        return (), {"args": [], "standalone_mode": False}
    try:
        parameters = list(inspect.signature(main).parameters.values())
    except (TypeError, ValueError):  # written in C
        return (job_id, config), {}
    of = {kind: [it for it in parameters if it.kind is kind] for kind in inspect._ParameterKind}
    plain = of[inspect.Parameter.POSITIONAL_ONLY] + of[inspect.Parameter.POSITIONAL_OR_KEYWORD]
    takes_more = bool(of[inspect.Parameter.VAR_POSITIONAL])
    takes_names = bool(of[inspect.Parameter.VAR_KEYWORD])
    named = {}
    needed = [it for it in plain if it.default is it.empty]
    too_many = [it.name for it in needed[2:]]
    for it in of[inspect.Parameter.KEYWORD_ONLY]:
        if is_config(it.name) or is_id(it.name):
            named[it.name] = config if is_config(it.name) else job_id
        elif it.default is it.empty:
            too_many.append(it.name)
    if too_many:
        raise refused(f"main takes {', '.join(too_many)} as well: it is called as main(id, config)")
    if not needed and not any(is_id(it.name) or is_config(it.name) for it in plain):
        if named:
            return (), named
        if takes_more and not plain:
            return (job_id, config), {}
        return (), {"id": job_id, "config": config} if takes_names else {}
    if len(plain) == 1 and not takes_more:
        return (job_id if is_id(plain[0].name) else config,), named
    if len(plain) > 1 and is_config(plain[0].name) and (is_id(plain[1].name) or plain[1] not in needed):
        return (config, job_id) if is_id(plain[1].name) else (config,), named
    return (job_id, config), named


def drained(generator, keep):
    """What a generator returns in the end, or else what it yielded."""
    values = []
    while True:
        try:
            value = next(generator)
        except StopIteration as end:
            return values if end.value is None else end.value
        if keep:
            values.append(value)


def waited_for(run, value):
    """What an asynchronous main of this run gives."""
    import asyncio  # late: it is slow to import, and most scripts do without

    returned = []

    async def main_task():
        run.task = asyncio.current_task()
        try:
            returned.append(await settled(value, run.wants_result))
        finally:
            run.task = None

    try:
        asyncio.run(main_task())
    except (asyncio.CancelledError, run.Terminated):
        if not returned:  # otherwise only what main had started was left
            if run.stopping is None:
                raise
            raise run.Terminated(run.TERMINATED) from None
    return returned[0]


async def settled(value, keep):
    """Awaits a value, also one that is given by another, and collects an asynchronous generator."""
    while hasattr(type(value), "__await__"):
        value = await value
    if hasattr(type(value), "gi_frame"):
        return drained(value, keep)
    if hasattr(type(value), "ag_frame"):
        values = []
        async for item in value:
            if keep:
                values.append(item)
        return values
    return value
