export declare const createCache: typeof import('cacheaside').createCache
export declare const redisShared: typeof import('cacheaside/redis').redisShared
