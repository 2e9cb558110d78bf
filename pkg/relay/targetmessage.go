package relay

import "strings"

// messageWords collects what a message says.
type messageWords struct {
	i     *interaction
	lines []string
}

func (w *messageWords) note(text string) {
	if text != "" && len(w.lines) < maxLookUps {
		w.lines = append(w.lines, text)
	}
}

// messageText is what a message says, and adds its files to the event's. One that is forwarded has its words in a snapshot, and one
// that is made of components in these; of one that has no words of its own, those of its poll or its embeds count.
func (i *interaction) messageText(message value) string {
	w := messageWords{i: i}
	parts := []value{message}
	for snapshot := range message.member("message_snapshots").elements() {
		parts = append(parts, snapshot.member("message"))
	}
	for _, part := range parts {
		w.note(part.member("content").text())
		for attachment := range part.member("attachments").elements() {
			i.attach(attachment)
		}
		w.components(part.member("components"), 0)
	}
	if len(w.lines) > 0 {
		return strings.Join(w.lines, "\n")
	}
	for _, part := range parts {
		w.poll(part.member("poll"))
		for embed := range part.member("embeds").elements() {
			w.embed(embed)
		}
	}
	return strings.Join(w.lines, "\n")
}

// components notes texts and files, not what buttons and menus are called.
func (w *messageWords) components(list value, depth int) {
	for c := range list.elements() {
		switch c.member("type").text() {
		case "10": // a text
			w.note(c.member("content").text())
		case "11": // a thumbnail
			w.file(c.member("media"), "")
		case "12": // a gallery
			for item := range c.member("items").elements() {
				w.file(item.member("media"), "")
			}
		case "13":
			w.file(c.member("file"), c.member("name").text())
		}
		if depth == maxNesting {
			continue
		}
		w.components(c.member("components"), depth+1)
		if accessory := c.member("accessory"); accessory.isObject() {
			w.components(value("["+string(accessory)+"]"), depth+1)
		}
	}
}

func (w *messageWords) file(file value, name string) {
	before := len(w.i.event.Media)
	w.i.attach(file)
	if list := w.i.event.Media; len(list) > before && name != "" {
		list[before].Filename = name
	}
}

func (w *messageWords) poll(poll value) {
	w.note(poll.member("question").member("text").text())
	for answer := range poll.member("answers").elements() {
		w.note(answer.member("poll_media").member("text").text())
	}
}

func (w *messageWords) embed(embed value) {
	w.note(embed.member("title").text())
	w.note(embed.member("description").text())
	for field := range embed.member("fields").elements() {
		name, text := field.member("name").text(), field.member("value").text()
		if name != "" && text != "" {
			name += ": "
		}
		w.note(name + text)
	}
}
