// A TypeDoc plugin: a guide is named by its first heading, as everywhere else, and not by its file.
import { Converter } from "typedoc"

export const load = (app) =>
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    // A heading with code in it comes in several parts.
    const text = document.content.map((part) => part.text).join("")
    const heading = /^# (.+)\n/.exec(text)
    if (heading !== null) document.name = heading[1].replaceAll("`", "")
  })
