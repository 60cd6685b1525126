"""The no-op agent as a LangGraph graph: one node, which answers what it was asked."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class Echo(TypedDict, total=False):
    input: str
    echo: str


async def echo(state: Echo) -> Echo:
    return {"echo": state["input"]}


graph = StateGraph(Echo).add_node("echo", echo).add_edge(START, "echo").add_edge("echo", END).compile()
