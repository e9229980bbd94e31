import { fieldOf } from './thrown.ts'

const UNTRUSTED =
  "set NODE_EXTRA_CA_CERTS to the file of the authority's certificate before the start, or give it to the client"

/** What OpenSSL and Node call what is wrong with a certificate: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const ADVICE: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  CERT_HAS_EXPIRED: "the server's certificate has to be renewed, or the clock of this machine to be set",
  ERR_TLS_CERT_ALTNAME_INVALID: 'connect by a name that the certificate has',
}

/**
 * What to do about a server's certificate that was refused, to be appended to the message: ` (connect by …)`. Empty for any
 * other error. Node's messages say what is wrong, and not what to set.
 */
export function certificateAdvice(error: unknown): string {
  const code = fieldOf(error, 'code')
  const advice = typeof code === 'string' && Object.hasOwn(ADVICE, code) ? ADVICE[code] : undefined
  return advice === undefined ? '' : ` (${advice})`
}
