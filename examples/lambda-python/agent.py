"""A Lambda agent in Python. Handler: agent.handler. Set DORMOUSE_AGENT to lambda: and the function's name."""


def handler(turn, context):
    event, source = turn["event"], turn["event"]["source"]
    if not event["text"]:
        return None  # nothing to say to a picture
    if event["text"].startswith("/roll"):
        if turn["delivery"]["attempt"] > 1:
            return {"text": "The dice got lost, please roll again."}
        sides = int((event["text"].split() + ["6"])[1])  # what is raised here is a failed attempt
        return {"actions": [
            {"op": "send", "content": f"A die with {sides} sides rolls ..."},
            {"op": "edit", "content": f"A die with {sides} sides shows {1 + hash(turn['delivery']['key']) % sides}."},
        ]}
    return {"text": f"Hello {source['user_name']}, you said: {event['text']}"}
