// The field in which a name is typed.

/** A name has 255 characters at most. A field counts units of UTF-16, of which a character takes one or two. */
export const NAME_UNITS = 510

/**
 * The name that is meant by what stands in the field. The field shows no breaks of lines, so a name that has some is not taken for
 * another one as long as nothing was typed.
 *
 * @param {string} was - The name that was put into it.
 * @param {string} stands - What stands in it now.
 */
export const typedOver = (was, stands) => (stands === was.replaceAll(/[\r\n]/g, '') ? was : stands)
