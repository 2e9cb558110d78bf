// What agents get, answer and have said: docs/agent/turn.schema.json, answer.schema.json and say.schema.json as types. A test holds them together.

/** What an agent gets: one message, its chat and its delivery. Further members may come with later versions. */
export interface Turn {
  version: 1;
  /** passthrough is a platform's raw request: forward has it, and event says no more than the platform; results tells what became of actions: event is of the message's chat and has no text */
  kind: "message" | "passthrough" | "results";
  /** of kind results: what became of the actions of the answer before, by the names that it gave */
  results?: Record<string, Result>;
  /** names the conversation; turns with equal keys run one after another */
  session_key: string;
  event: Event;
  /** of several messages that are one turn: each as it came, the oldest first; event is the last one with the texts of all and the attachments of all */
  events?: Event[];
  /** event.context as lines to read, a heading and one line for each message; for reference, not addressed to the bot */
  context?: string;
  /** the question that this turn answers */
  prompt?: {
    prompt_id: string;
    /** the id of the option that was chosen */
    option_id: string;
    /** as the prompt action gave it */
    ref?: string;
  };
  /** the event's attachments, in the order of event.media_urls */
  media?: Attachment[];
  /** the raw request of a passthrough; nothing in it has been verified */
  forward?: {
    platform: string;
    botId: string;
    method: string;
    path: string;
    headers?: [string, string][];
    bodyB64?: string;
    profile?: string;
  };
  descriptor: Descriptor;
  /** the trace that the turn belongs to (W3C Trace Context); also the header traceparent of a posted turn */
  traceparent?: string;
  /** true if the message is older than DORMOUSE_STALE_AFTER; else it is missing */
  late?: boolean;
  delivery: {
    /** the same at every attempt; also the header webhook-id */
    key: string;
    attempt: number;
    /** it came while the gateway slept */
    buffered: boolean;
    received_at: string;
    /** when it was said, where the platform's message id holds the time (Discord, Slack); else received_at */
    said_at: string;
    /** whole seconds from said_at to this attempt */
    age_s: number;
    /** true if an operator tries the agent: the answer goes nowhere; else it is missing */
    trial?: boolean;
    /** what an earlier attempt, cut short in its stream, has sent, in order */
    sent?: {
      op: string;
      /** of what is in the chat; missing if nobody knows whether it arrived, or under which id */
      message_id?: string;
      /** ok: it is in the chat; unknown: it may be; refused, declined: it is not */
      outcome: "ok" | "unknown" | "refused" | "declined";
      /** of an outcome that is not ok: what it means */
      class?: "unknown" | "permanent" | "declined";
    }[];
  };
}

export interface Event {
  text: string;
  message_type: "text" | "location" | "photo" | "video" | "audio" | "voice" | "document" | "sticker" | "command";
  message_id: string;
  reply_to_message_id?: string;
  reply_to?: {
    text?: string;
    author?: string;
    /** the bot's own message */
    is_own?: boolean;
  };
  media_urls?: string[];
  media?: {
    url: string;
    kind?: string;
    mime?: string;
    /** bytes */
    size?: number;
    filename?: string;
    caption?: string;
  }[];
  /** recent messages of the channel, the oldest first */
  context?: {
    text: string;
    source: {
      user_id?: string;
      user_name?: string;
    };
  }[];
  context_error?: boolean;
  prompt_response?: {
    prompt_id: string;
    option_id: string;
    label?: string;
    prompt_message_id?: string;
  };
  /** what the user filled in, chose or aimed at (Discord): a submitted form, which text has as lines, custom_id=value; a choice from a menu, as a form of one field; a command with a target, or with options that stand for users, roles or channels */
  metadata?: {
    /** of the form or the menu */
    custom_id?: string;
    fields?: {
      /** of an option its name */
      custom_id: string;
      /** of a choice: values, joined by commas; of a checkbox: True or False */
      value: string;
      values?: string[];
      /** the users, roles and channels among the values */
      resolved?: Entity[];
    }[];
    /** of a command from the menu of a user or of a message */
    target?: Entity;
  };
  source: {
    /** relay if it is not known */
    platform: string;
    chat_id: string;
    chat_type: string;
    chat_name: string;
    user_id: string;
    user_name: string;
    thread_id: string;
    chat_topic: string;
    user_id_alt?: string;
    chat_id_alt?: string;
    /** guild, workspace or server */
    scope_id?: string;
    parent_chat_id?: string;
    message_id?: string;
    profile?: string;
    auto_thread_created?: boolean;
    auto_thread_initial_name?: string;
    prospective_thread_id?: string;
    /** a bot wrote it; missing: the connector does not say so */
    is_bot?: boolean;
    /** it replaces an earlier text of the message; likewise */
    message_is_edit?: boolean;
    one_to_one_verified?: boolean;
  };
}

/** what became of an action */
export interface Result {
  op: string;
  success: boolean;
  /** ok, unknown (it may have arrived), refused, declined or skipped */
  outcome: string;
  /** of an outcome that is not ok: unknown, declined or permanent */
  class?: string;
  /** of the message that the action has made or changed */
  message_id?: string;
  /** of thread_create */
  thread_id?: string;
  /** of get_chat_info: name, type and what else the connector knows */
  chat_info?: Record<string, unknown>;
}

export interface Attachment {
  /** a public link, or a file of the connector's, which only the gateway can fetch */
  url: string;
  kind?: string;
  mime?: string;
  /** bytes */
  size?: number;
  filename?: string;
  caption?: string;
  /** the file itself, if it was the connector's */
  data?: string;
  /** why a file of the connector's is not here */
  error?: string;
}

/** what an id stands for */
export interface Entity {
  /** user, role, channel or message */
  kind: string;
  id: string;
  /** the name that is shown, of a message its text; empty if it is not known */
  text: string;
}

/** what the chat's platform can do */
export interface Descriptor {
  contract_version?: number;
  platform: string;
  label?: string;
  /** of one message, in len_unit */
  max_message_length: number;
  supports_draft_streaming?: boolean;
  supports_edit: boolean;
  supports_threads?: boolean;
  markdown_dialect: string;
  /** utf16; anything else counts characters */
  len_unit: string;
  emoji?: string;
  platform_hint?: string;
  pii_safe?: boolean;
  supports_context?: boolean;
  supports_inchannel_continuable?: boolean;
  supports_block_formatting?: boolean;
  /** the ops that may be used there; missing: send, typing, follow_up, and edit if supports_edit */
  supported_ops?: string[];
}

/** What an agent returns: actions, a text, later, or nothing. A streamed answer has one of $defs/line on each line. */
export type Answer = {
  /** short for one send; blank says nothing */
  text?: string;
  /** carried out in this order */
  actions?: Action[];
  /** the answer comes later, within this time, 24h at most, as a say; nothing to be said is beside it */
  later?: string;
} | null;

export type Line = null | Record<string, never> | Action | {
  text: string;
};

export type Words = string;

/** blank or null: the action is skipped */
export type Said = string | null;

/** a number is read as its digits; empty or null is missing */
export type Id = string | number | null;

export type Action =
  | SendAction
  | EditAction
  | TypingAction
  | FollowUpAction
  | GetChatInfoAction
  | SendMediaAction
  | PromptAction
  | ReactAction
  | ThreadCreateAction
  | ThreadRenameAction
  | DeleteAction;

export interface ActionBase {
  /** missing: the turn's chat; {of: N}: the thread that action N of the same answer, from 0, has created */
  chat_id?: Id | {
    of: number;
  };
  /** routing facts of the turn's chat are added */
  metadata?: Record<string, unknown>;
  /** a name under which what becomes of the action comes back in a turn of kind results */
  result?: string | null;
  /** the id of a message; missing: of the answer's first such send the message itself; null and empty: none */
  reply_to?: Id;
}

export interface SendAction extends ActionBase {
  op: "send";
  content: Said;
}

export interface EditAction extends ActionBase {
  op: "edit";
  /** missing: the newest message of this turn */
  message_id?: Id;
  content: Said;
}

export interface TypingAction extends ActionBase {
  op: "typing";
  /** a status phrase, on Slack */
  content?: string;
}

export interface FollowUpAction extends ActionBase {
  op: "follow_up";
  content: Said;
  /** missing: the turn's */
  session_key?: Words;
  /** missing, on Discord: discord.interaction_token */
  kind?: Words;
}

export interface GetChatInfoAction extends ActionBase {
  op: "get_chat_info";
}

export interface SendMediaAction extends ActionBase {
  op: "send_media";
  media_kind: "image" | "voice" | "audio" | "video" | "document";
  /** a link that the platform can follow */
  source_url?: string;
  /** the file itself, at most 25 MiB */
  data?: Words;
  /** media type of data */
  mime?: string;
  /** caption */
  content?: string;
  filename?: string | null;
}

export interface PromptAction extends ActionBase {
  op: "prompt";
  content: Words;
  prompt_kind: "approval" | "clarify" | "choice";
  options: {
    id: string | number;
    label: Words;
    style?: string;
  }[];
  timeout_s?: number;
  /** comes back with the answer */
  ref?: string;
  prompt_id?: never;
}

export interface ReactAction extends ActionBase {
  op: "react";
  /** missing: the message that the turn is about */
  message_id?: Id;
  emoji: Words;
  remove?: boolean;
}

export interface ThreadCreateAction extends ActionBase {
  op: "thread_create";
  /** cut at 100 characters */
  thread_name?: string;
}

export interface ThreadRenameAction extends ActionBase {
  op: "thread_rename";
  /** the thread; missing: the turn's */
  message_id?: Id;
  thread_name: Words;
  only_if_connector_created?: true;
  only_if_current_name?: Words;
}

export interface DeleteAction extends ActionBase {
  op: "delete";
  /** missing: the newest message of this turn */
  message_id?: Id;
}

/** What drain is invoked with to have something said: actions, a text or a question to the agent, for a chat or as a part of a late answer. */
export type Say = {
  reason: "say";
  /** the same key is said once; of a late answer it is reply_to_delivery, a slash and n, and may be left out */
  key?: string;
  chat?: Place;
  /** short for one send */
  text?: string;
  /** as in answer.schema.json */
  actions?: {
    op: string;
  }[];
  ask?: Question;
  /** delivery.key of a turn that was answered with later */
  reply_to_delivery?: string;
  /** which part it is; missing: the whole answer */
  n?: number;
  /** no other part follows */
  last?: boolean;
} | null;

export interface Place {
  platform: string;
  /** as event.source.chat_id has it */
  chat_id: string | number;
  /** this and the next are needed for a chat that has not written within 90 days */
  chat_type?: string;
  /** guild, workspace or server */
  scope_id?: string | number;
  /** missing: the chat itself */
  thread_id?: string | number;
  /** of a dm, who it is; with ask, whose session it is */
  user_id?: string | number;
  profile?: string;
  parent_chat_id?: string | number;
}

export interface Question {
  /** event.text of the turn */
  text: string;
  /** whose session it is; missing: ask:PLATFORM:CHAT_ID */
  user_id?: string | number;
}
